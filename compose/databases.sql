-- Once, when the server is new. POSTGRES_DB is Dagster's; this is the catalogue of a shared warehouse.
create database tickets;
