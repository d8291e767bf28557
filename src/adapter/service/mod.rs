//! A router in front of `tower` services: each request goes to the service of the worker that the
//! policy names, and gives its load back when the response's body ends.
//!
//! - [`PolicyService`]: workers with a service each, as one service.
//! - `hint`: what a request says about its prompt; bodies are not read here.
//! - `body`: the response's body, watched.
//!
//! What a response says about its worker:
//!
//! | response | outcome |
//! |---|---|
//! | 1xx to 3xx, and the body ended | success |
//! | 1xx to 3xx, and the body was dropped before its end | cancelled by the client |
//! | 429, or 503 with `retry-after` | overloaded, for the seconds of `retry-after`, 300 at most, else for one |
//! | other 4xx | the client's error |
//! | 504 | timeout |
//! | other 5xx; an error of the service or of the body | the worker's error |
//! | none: the future was dropped | cancelled by the client |
//!
//! What is not a success counts at once, even if the body is never read. A successful body's first data
//! is reported as the first token, later data as progress.
//!
//! It does not retry: only the host knows which requests may be sent twice. A retry excludes the worker
//! that failed by [`PromptHint::exclude`]: [`ServiceError::Worker`] names it, and every response carries
//! its worker's [`WorkerId`] as an extension.
//!
//! ```
//! # use std::convert::Infallible;
//! use http::{Request, Response};
//! use pointsman::adapter::service::{PolicyService, PromptHint};
//! use pointsman::{Router, RouterConfig, WorkerSpec};
//! use tower_service::Service;
//!
//! # async fn serve<S>(engine_a: S, engine_b: S) -> Result<(), Box<dyn std::error::Error>>
//! # where
//! #     S: Service<Request<String>, Response = Response<String>, Error = Infallible> + Clone,
//! # {
//! let mut service = PolicyService::new(Router::new(RouterConfig::default())?);
//! service.add(WorkerSpec::new("http://10.0.0.7:8000"), engine_a)?;
//! service.add(WorkerSpec::new("http://10.0.0.8:8000"), engine_b)?;
//!
//! let body = r#"{"text": "You are a helpful assistant."}"#.to_owned();
//! let mut request = Request::post("/generate").body(body.clone())?;
//! request.extensions_mut().insert(PromptHint::json(body.into_bytes()));
//! let response = service.call(request).await?;
//! # Ok(())
//! # }
//! ```

mod body;
mod hint;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, Request, Response, StatusCode, header::RETRY_AFTER};
use http_body::Body;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use thiserror::Error;
use tower_service::Service;

pub use self::{body::TrackedBody, hint::PromptHint};
use crate::policy::Usage;
use crate::policy::error::RoutingError;
use crate::pool::error::PoolError;
use crate::router::{Router, selection::Selection};
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::worker::{WorkerId, health::Outcome, spec::WorkerSpec};

/// Tries before a request is refused whose workers keep being removed.
const ATTEMPTS: usize = 8;

/// The workers of a router, with a service each, as one service. Clones are the same service.
///
/// Not ready while limits keep every worker from a further request; the task is woken when a place comes
/// free. Put `tower`'s load shedding in front to refuse requests instead. The chosen worker's own readiness
/// is waited for by the response's future, so that one worker that is not ready does not delay other
/// workers' requests. Each call clones the worker's service.
pub struct PolicyService<S> {
    router: Router,
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    /// By the `user_data` of the worker. Locked to clone, as not every service can be shared.
    services: ArcSwap<HashMap<u64, Arc<Mutex<S>>>>,
    writer: Mutex<()>,
    next_key: AtomicU64,
}

/// Why a request has no response.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServiceError<E> {
    /// No worker was named.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// The named workers were removed at the same moment.
    #[error("the workers chosen for the request were removed at the same moment")]
    Removed,
    /// The worker's service failed.
    #[error("the service of worker {worker} failed: {error}")]
    #[non_exhaustive]
    Worker {
        /// The worker that failed, to be excluded from a retry.
        worker: WorkerId,
        /// How.
        error: E,
    },
}

impl<S> PolicyService<S> {
    /// Over a router, whose workers are added here and not there.
    pub fn new(router: Router) -> Self {
        let shared = Shared {
            services: ArcSwap::default(),
            writer: Mutex::new(()),
            next_key: AtomicU64::new(1),
        };
        PolicyService { router, shared: Arc::new(shared) }
    }

    /// The router: for health, load reports, metrics and policies.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Registers a worker and the service that reaches it. The worker's `user_data` is taken to find
    /// the service, whatever the specification says.
    ///
    /// # Errors
    /// As [`Router::add_worker`].
    pub fn add(&self, spec: WorkerSpec, service: S) -> Result<WorkerId, PoolError> {
        let key = self.shared.next_key.fetch_add(1, Relaxed);
        let service = Arc::new(Mutex::new(service));
        // In this order, so that no request finds a worker without its service.
        self.shared.change(|services| services.insert(key, Arc::clone(&service)));
        let added = self.router.add_worker(spec.user_data(key));
        if added.is_err() {
            self.shared.change(|services| services.remove(&key));
        }
        added
    }

    /// Removes a worker and its service. Requests that it has begun go on, untracked.
    ///
    /// # Errors
    /// As [`Router::remove_worker`].
    pub fn remove(&self, id: WorkerId) -> Result<(), PoolError> {
        let info = self.router.worker(id).ok_or(PoolError::UnknownWorker(id))?;
        self.router.remove_worker(id)?;
        self.shared.change(|services| services.remove(&info.user_data));
        Ok(())
    }
}

impl<S> Shared<S> {
    fn change<T>(&self, change: impl FnOnce(&mut HashMap<u64, Arc<Mutex<S>>>) -> T) {
        let _writer = self.writer.lock();
        let mut services = HashMap::clone(&self.services.load());
        change(&mut services);
        self.services.store(Arc::new(services));
    }
}

impl<S: Clone> PolicyService<S> {
    fn pick<B, E>(&self, request: &Request<B>) -> Result<(S, Selection), ServiceError<E>> {
        let hint = request.extensions().get::<PromptHint>();
        for _ in 0..ATTEMPTS {
            let selection = self.select(hint)?;
            let services = self.shared.services.load();
            if let Some(service) = services.get(&selection.user_data()) {
                return Ok((service.lock().clone(), selection));
            }
        }
        Err(ServiceError::Removed)
    }

    fn select(&self, hint: Option<&PromptHint>) -> Result<Selection, RoutingError> {
        let Some(hint) = hint else { return self.router.select(&crate::Request::none()) };
        match self.router.select(&hint.request()) {
            Err(RoutingError::Body(_) | RoutingError::Fingerprint(_)) => {
                self.router.select(&hint.without_prompt())
            }
            selected => selected,
        }
    }
}

impl<S, B, R> Service<Request<B>> for PolicyService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body,
{
    type Response = Response<TrackedBody<R>>;
    type Error = ServiceError<S::Error>;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.router.poll_room(cx).map(Ok)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let state = match self.pick(&request) {
            Ok((service, selection)) => {
                State::Waiting { service, request: Some(request), selection: Some(selection) }
            }
            Err(error) => State::Refused { error: Some(error) },
        };
        ResponseFuture { state }
    }
}

pin_project! {
    /// Waits for the worker's service, then for its response. Dropped before that, the request counts
    /// as cancelled by the client.
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Refused { error: Option<ServiceError<S::Error>> },
        Waiting { service: S, request: Option<Request<B>>, selection: Option<Selection> },
        Calling { #[pin] response: S::Future, selection: Option<Selection> },
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Output = Result<Response<TrackedBody<R>>, ServiceError<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Refused { error } => {
                    return match error.take() {
                        Some(error) => Poll::Ready(Err(error)),
                        // Polled after completion.
                        None => Poll::Pending,
                    };
                }
                StateProjection::Waiting { service, request, selection } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return ended(selection, |selection| Err(failed(selection, error)));
                    }
                    match request.take() {
                        Some(request) => State::Calling {
                            response: service.call(request),
                            selection: selection.take(),
                        },
                        None => State::Refused { error: None },
                    }
                }
                StateProjection::Calling { response, selection } => {
                    let response = ready!(response.poll(cx));
                    return ended(selection, |selection| match response {
                        Ok(response) => Ok(track(response, selection)),
                        Err(error) => Err(failed(selection, error)),
                    });
                }
            };
            state.set(next);
        }
    }
}

/// Ends the selection. There is none when polled after completion.
fn ended<T>(selection: &mut Option<Selection>, end: impl FnOnce(Selection) -> T) -> Poll<T> {
    selection.take().map_or(Poll::Pending, |selection| Poll::Ready(end(selection)))
}

fn failed<E>(selection: Selection, error: E) -> ServiceError<E> {
    let worker = selection.worker();
    // Fails where the worker was removed meanwhile.
    let _ = selection.complete(Outcome::WorkerError, Usage::default());
    ServiceError::Worker { worker, error }
}

fn track<R: Body>(mut response: Response<R>, selection: Selection) -> Response<TrackedBody<R>> {
    let outcome = outcome(response.status(), response.headers());
    response.extensions_mut().insert(selection.worker());
    response.map(|body| TrackedBody::new(body, selection, outcome))
}

/// What a response's head says about the worker, provided that the body ends well.
fn outcome(status: StatusCode, headers: &HeaderMap) -> Outcome {
    let told = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let pause = told.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
    Outcome::from_http_status(status.as_u16(), pause)
}

impl<S> Clone for PolicyService<S> {
    fn clone(&self) -> Self {
        PolicyService { router: self.router.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S> fmt::Debug for PolicyService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyService")
            .field("router", &self.router)
            .field("services", &self.shared.services.load().len())
            .finish()
    }
}
