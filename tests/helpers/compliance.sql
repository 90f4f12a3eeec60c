-- Ship-date compliance once more, in DuckDB's SQL: one row per order, with outcome and reason.
-- Tables: lives (orders with their ship events), zones (per warehouse), holidays, policy (one row).
-- All stamps are TIMESTAMP in UTC.
with events as (
    select
        lives.*,
        make_timestamp(created_date) as created,
        make_timestamp(required_ship_date) as required,
        make_timestamp(first_shipped_date) as first_at,
        make_timestamp(last_shipped_date) as last_at,
        make_timestamp(complete_shipped_date) as complete_at
    from lives
),

worked as (
    select day, row_number() over (order by day) as number
    from (select cast(range as date) as day from range(date '2024-01-01', date '2029-01-01', interval 1 day))
    where isodow(day) < 6 and day not in (select day from holidays)
),

placed as (
    select
        events.*,
        zone,
        case policy.ship_event when 'first' then first_at else complete_at end as stamp,
        timezone(zone, timezone('UTC', created)) as wall
    from events
    cross join policy
    left join zones on events.warehouse_id is not distinct from zones.warehouse_id
),

received as (
    select
        placed.*,
        (
            select min(number) from worked
            where day > cast(wall as date)
                or (day = cast(wall as date) and cast(wall as time) < (select cut_off from policy))
        ) as received_on
    from placed
),

-- The day that an order is due on, or the very moment.
due_days as (
    select
        received.*,
        case
            when policy.cut_off is not null then worked.day
            when required = date_trunc('day', required) then cast(required as date)
        end as due_day
    from received
    cross join policy
    left join worked on worked.number = received_on + policy.business_days
),

due_times as (
    select
        due_days.*,
        case
            when due_day is not null
                then timezone('UTC', timezone(zone, cast(due_day + 1 as timestamp)))
                    - interval 1 microsecond
            when policy.cut_off is null then required
        end as due
    from due_days
    cross join policy
),

reasons as (
    select
        due_times.*,
        policy.ship_event = 'complete' and status = 'fulfilled' and stamp is null
            and units_ordered is not null and last_at <= policy.as_of as is_short,
        case when stamp <= policy.as_of then stamp when is_short then last_at end as shipped,
        case
            when created > policy.as_of then 'created after as_of'
            when status = 'cancelled' then 'cancelled'
            when status in (select unnest(policy.exclude_statuses)) then 'status left out by the policy'
            when policy.cut_off is null and required is null then 'no due date'
            when policy.cut_off is not null and status = 'backordered'
                then 'backordered: nothing tells when its clock starts'
            when policy.cut_off is not null and created is null
                then 'no created_date for a clock to start at'
            when due is null then 'no time zone for warehouse'
            when due < policy.since then 'due before the window'
            when policy.ship_event = 'complete' and units_ordered is null then 'quantity unknown'
            when stamp is not null then null
            when status = 'fulfilled' and (last_at is null or policy.ship_event = 'first')
                then 'shipped without a usable stamp'
            when status = 'partially_fulfilled' and policy.ship_event = 'first'
                then 'shipped without a usable stamp'
        end as reason
    from due_times
    cross join policy
)

select
    reasons.*,
    timezone(zone, timezone('UTC', due)) as due_wall,
    -- A due day ends at the next midnight, and is shown as 23:59:59.
    case when due_day is null then due else due + interval 1 microsecond - interval 1 second end
        as due_shown,
    reason is null and (
        policy.as_of > due + policy.grace
        or (due_day is not null and policy.as_of = due + policy.grace)
    ) as is_due,
    case
        when reason is not null then 'not_evaluable'
        when is_short and shipped <= due + policy.grace then 'short'
        when shipped <= due + policy.grace then 'on_time'
        when shipped is not null then 'late_shipped'
        when is_due then 'late_open'
        else 'pending'
    end as outcome
from reasons
cross join policy
