//! OpenAPI 3.1 at `/openapi.json`, generated from the handlers' own types.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::Response;
use utoipa::OpenApi;

use super::{acts, audit, body, clock, control, data, inspections, migrations, node, rights, secrets, segments};

/// The vault's operations, on the data and control listeners.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "cloison vault",
        description = "Sector pseudonyms, epochs, releases. TLS 1.3 with client certificates."
    ),
    components(schemas(super::problem::ProblemBody<'static>)),
    paths(
        data::tokenize,
        control::list_epochs,
        control::advance_epoch,
        control::release_mappings,
        control::resume_proofs,
        acts::list_at_vault,
        acts::lodge_order_at_vault,
        acts::lodge_at_vault,
        acts::exchange,
        migrations::migration_page,
        migrations::hand_back,
        migrations::list_migrations,
        migrations::fetch_pairs,
        migrations::acknowledge_pairs,
        migrations::retire_epoch,
        rights::look_up,
        rights::erase_at_vault,
        segments::page,
        segments::take,
        segments::drop_at_vault,
        secrets::list,
        secrets::rotate,
        secrets::retire,
        clock::lower_at_vault,
        audit::checkpoint,
        audit::tile,
        audit::resource,
        audit::shards,
        audit::search::entries,
        inspections::list,
        inspections::enter,
        inspections::close,
        inspections::annex
    )
)]
struct VaultApi;

/// The authority node's operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "cloison authority node",
        description = "Re-identification under a signed order; custody of the key. TLS 1.3 with client certificates."
    ),
    components(schemas(super::problem::ProblemBody<'static>)),
    paths(
        node::reidentify,
        node::unseal,
        node::drill,
        node::status,
        node::seal,
        node::resumes,
        node::acknowledge_resume,
        clock::lower_at_node,
        acts::list_at_node,
        acts::lodge_order_at_node,
        acts::lodge_at_node,
        migrations::migrate,
        rights::erase_at_node,
        segments::renew,
        segments::drop_at_node,
        audit::checkpoint,
        audit::tile,
        audit::resource,
        audit::shards,
        audit::search::entries,
        inspections::list,
        inspections::enter,
        inspections::close,
        inspections::annex
    )
)]
struct NodeApi;

pub(super) async fn vault() -> Response<Body> {
    static TEXT: LazyLock<String> = LazyLock::new(|| text(VaultApi::openapi()));
    body::reply("application/json", TEXT.as_str())
}

pub(super) async fn node() -> Response<Body> {
    static TEXT: LazyLock<String> = LazyLock::new(|| text(NodeApi::openapi()));
    body::reply("application/json", TEXT.as_str())
}

fn text(api: utoipa::openapi::OpenApi) -> String {
    api.to_json().expect("the description is plain data")
}
