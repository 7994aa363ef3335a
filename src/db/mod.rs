//! All SQL: one store interface, its schema and its migrations.
