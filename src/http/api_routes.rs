//! Routes with their descriptions, as the doors hand them to [`super::mount`].

use axum::routing::MethodRouter;
use utoipa_axum::router::UtoipaMethodRouter;
pub(super) use utoipa_axum::{router::OpenApiRouter, routes};

/// Puts the operations of a door under a heading of the description.
pub(super) fn with_tag<S>(tag: &str, mut routes: OpenApiRouter<S>) -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    for item in routes.get_openapi_mut().paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            operation.tags = Some(vec![tag.to_owned()]);
        }
    }
    routes
}

/// A route at `path`, which ends in `{*rest}`. Its handler describes it with `{rest}`, the only
/// form that OpenAPI knows.
pub(super) fn route_at<S>(
    path: &str,
    (schemas, paths, methods): UtoipaMethodRouter<S>,
) -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    let described = OpenApiRouter::<S>::default()
        .routes((schemas, paths, MethodRouter::new()))
        .into_openapi();
    let mut routes = OpenApiRouter::default().route(path, methods);
    routes.get_openapi_mut().merge(described);
    routes
}
