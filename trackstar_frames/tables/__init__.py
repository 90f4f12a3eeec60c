"""Arrow tables of orders: joined, finished, labelled, hidden, compared, and as dataframes."""
