//! `/openapi.json`: OpenAPI 3.1, whole in itself, and true of what the doors answer.

mod answers;
mod migrations;
mod operations;
mod validity;
