"""Arrow tables of orders: joined, labelled, redacted, compared, and as dataframes."""
