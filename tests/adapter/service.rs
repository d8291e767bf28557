//! A router in front of `tower` services: which one is called, and when the load comes back.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use parking_lot::Mutex;
use pointsman::adapter::service::{PolicyService, PromptHint, ServiceError};
use pointsman::{Outcome, PolicyConfig, Router, RouterConfig, RoutingError, WorkerId, WorkerSpec};
use tower_service::Service;

use crate::recorder::{Event, Recorder, end};

/// What a body yields next.
#[derive(Clone, Copy)]
enum Step {
    Data(&'static str),
    Error,
}

/// A body that yields its steps, one for each poll.
#[derive(Default)]
struct Steps {
    left: Vec<Step>,
    knows_its_end: bool,
}

impl Body for Steps {
    type Data = &'static [u8];
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(match self.left.remove(0) {
            Step::Data(data) => Ok(Frame::data(data.as_bytes())),
            Step::Error => Err("connection reset"),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.left.is_empty()
    }
}

/// What every engine answers.
struct Script {
    status: StatusCode,
    retry_after: Option<&'static str>,
    steps: Vec<Step>,
    knows_its_end: bool,
    is_ready: AtomicBool,
    fails: bool,
    calls: Mutex<Vec<&'static str>>,
    clones: AtomicUsize,
}

impl Default for Script {
    fn default() -> Self {
        Script {
            status: StatusCode::OK,
            retry_after: None,
            steps: vec![Step::Data("a"), Step::Data("b")],
            knows_its_end: false,
            is_ready: AtomicBool::new(true),
            fails: false,
            calls: Mutex::default(),
            clones: AtomicUsize::new(0),
        }
    }
}

struct Engine(&'static str, Arc<Script>);

impl Clone for Engine {
    fn clone(&self) -> Self {
        self.1.clones.fetch_add(1, Relaxed);
        Engine(self.0, Arc::clone(&self.1))
    }
}

impl Service<Request<()>> for Engine {
    type Response = Response<Steps>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Response<Steps>, &'static str>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.1.is_ready.load(Relaxed) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, _request: Request<()>) -> Self::Future {
        let script = &self.1;
        script.calls.lock().push(self.0);
        if script.fails {
            return std::future::ready(Err("connection refused"));
        }
        let mut response = Response::builder().status(script.status);
        if let Some(seconds) = script.retry_after {
            response = response.header("retry-after", seconds);
        }
        let body = Steps { left: script.steps.clone(), knows_its_end: script.knows_its_end };
        std::future::ready(Ok(response.body(body).unwrap()))
    }
}

/// One engine of a router, and its script.
struct Setup {
    service: PolicyService<Engine>,
    script: Arc<Script>,
    id: WorkerId,
}

impl Setup {
    fn new(script: Script) -> Self {
        let script = Arc::new(script);
        let service = PolicyService::new(router("round_robin"));
        let engine = Engine("a", Arc::clone(&script));
        let id = service.add(WorkerSpec::new("http://a").user_data(7), engine).unwrap();
        Setup { service, script, id }
    }

    fn in_flight(&self) -> usize {
        self.service.router().workers()[0].in_flight
    }

    /// Completions with this outcome; successes are those that are nothing else.
    fn count(&self, outcome: Outcome) -> u64 {
        let worker = self.service.router().metrics().workers.remove(0);
        match outcome {
            Outcome::Success => {
                let others: u64 = worker.outcomes.iter().sum();
                worker.selections - worker.in_flight as u64 - others
            }
            _ => worker.outcomes[outcome.index()],
        }
    }

    fn call(&mut self) -> <PolicyService<Engine> as Service<Request<()>>>::Future {
        self.service.call(Request::new(()))
    }
}

fn router(policy: &str) -> Router {
    let mut config = RouterConfig::default();
    config.policy = PolicyConfig::named(policy);
    Router::new(config).unwrap()
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn ready<F: Future>(future: F) -> F::Output {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready"),
    }
}

/// Polls a body once.
fn next<B: Body + Unpin>(body: &mut B) -> Option<Result<Frame<B::Data>, B::Error>> {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(frame) => frame,
        Poll::Pending => panic!("not ready"),
    }
}

#[test]
fn the_load_comes_back_when_the_body_ends() {
    let mut setup = Setup::new(Script::default());
    let mut body = ready(setup.call()).unwrap().into_body();
    for _ in 0..2 {
        assert!(next(&mut body).unwrap().is_ok());
        assert_eq!(setup.in_flight(), 1);
    }
    assert!(next(&mut body).is_none());
    assert_eq!((setup.in_flight(), setup.count(Outcome::Success)), (0, 1));
    drop(body);
    assert_eq!(setup.count(Outcome::ClientCancelled), 0);
}

#[test]
fn the_first_data_is_the_first_token() {
    let recorder = Recorder::new();
    let policy = Arc::clone(&recorder);
    let mut config = RouterConfig::default();
    config.policy = PolicyConfig::named("recorder");
    let builder = Router::builder().config(config);
    let builder = builder.add_policy("recorder", move |_| Ok(policy.clone())).unwrap();
    let mut service = PolicyService::new(builder.build().unwrap());
    service.add(WorkerSpec::new("a"), Engine("a", Arc::new(Script::default()))).unwrap();
    let mut body = ready(service.call(Request::new(()))).unwrap().into_body();
    recorder.take();
    assert!(next(&mut body).is_some());
    assert_eq!(recorder.take(), [Event::FirstToken(0)]);
    assert!(next(&mut body).is_some() && next(&mut body).is_none());
    assert_eq!(recorder.take(), [end(Outcome::Success, 0, true)]);
}

#[test]
fn a_body_that_knows_its_end_is_not_polled_for_it() {
    let mut setup = Setup::new(Script { knows_its_end: true, ..Script::default() });
    let mut body = ready(setup.call()).unwrap().into_body();
    assert!(next(&mut body).is_some() && !body.is_end_stream());
    assert!(next(&mut body).is_some() && body.is_end_stream());
    drop(body);
    assert_eq!((setup.in_flight(), setup.count(Outcome::Success)), (0, 1));

    let mut setup = Setup::new(Script { knows_its_end: true, steps: vec![], ..Script::default() });
    drop(ready(setup.call()).unwrap());
    assert_eq!((setup.in_flight(), setup.count(Outcome::Success)), (0, 1));
}

#[test]
fn a_dropped_body_or_future_is_a_cancelled_request() {
    let mut setup = Setup::new(Script::default());
    let mut body = ready(setup.call()).unwrap().into_body();
    assert!(next(&mut body).is_some());
    drop(body);
    drop(setup.call());
    assert_eq!((setup.in_flight(), setup.count(Outcome::ClientCancelled)), (0, 2));
}

#[test]
fn errors_are_the_workers() {
    let mut setup = Setup::new(Script { fails: true, ..Script::default() });
    let error = ready(setup.call()).unwrap_err();
    let ServiceError::Worker { worker, error: "connection refused", .. } = error else {
        panic!("{error}")
    };
    assert_eq!(worker, setup.id);
    assert_eq!((setup.in_flight(), setup.count(Outcome::WorkerError)), (0, 1));

    let steps = vec![Step::Data("a"), Step::Error];
    let mut setup = Setup::new(Script { steps, ..Script::default() });
    let mut body = ready(setup.call()).unwrap().into_body();
    assert!(next(&mut body).unwrap().is_ok());
    assert!(next(&mut body).unwrap().is_err());
    assert_eq!((setup.in_flight(), setup.count(Outcome::WorkerError)), (0, 1));
}

#[test]
fn the_status_says_whose_doing_it_was() {
    let overloaded = |seconds| Outcome::Overloaded { retry_after: Duration::from_secs(seconds) };
    let cases = [
        (204, None, Outcome::Success),
        (404, None, Outcome::ClientError),
        (429, None, overloaded(1)),
        (429, Some("30"), overloaded(30)),
        (429, Some("Fri, 01 Jan 2100 00:00:00 GMT"), overloaded(1)),
        (500, None, Outcome::WorkerError),
        (503, None, Outcome::WorkerError),
        (503, Some("2"), overloaded(2)),
        (504, None, Outcome::Timeout),
    ];
    for (status, retry_after, outcome) in cases {
        let status = StatusCode::from_u16(status).unwrap();
        let script = Script { status, retry_after, steps: vec![], ..Script::default() };
        let mut setup = Setup::new(Script { knows_its_end: true, ..script });
        let response = ready(setup.call()).unwrap();
        assert_eq!((response.status(), setup.in_flight()), (status, 0));
        assert_eq!(setup.count(outcome), 1, "{status}");
        let is_paused = setup.service.router().workers()[0].effective_weight < 1.0;
        assert_eq!(is_paused, matches!(outcome, Outcome::Overloaded { .. }), "{status}");
    }
}

#[test]
fn a_retry_excludes_the_worker_that_the_response_names() {
    let script = Script { status: StatusCode::INTERNAL_SERVER_ERROR, ..Script::default() };
    let script = Arc::new(script);
    let mut service = PolicyService::new(router("random"));
    let ids = ["a", "b", "c"]
        .map(|name| service.add(WorkerSpec::new(name), Engine(name, Arc::clone(&script))).unwrap());
    let mut tried: Vec<WorkerId> = Vec::new();
    for _ in ids {
        let mut request = Request::new(());
        request.extensions_mut().insert(PromptHint::text(*b"Why?").exclude(tried.as_slice()));
        let response = ready(service.call(request)).unwrap();
        tried.push(*response.extensions().get::<WorkerId>().unwrap());
    }
    let mut all = tried.clone();
    all.sort_by_key(|id| id.slot());
    assert_eq!(all, ids);
    let mut request = Request::new(());
    request.extensions_mut().insert(PromptHint::none().exclude(tried));
    let Err(error) = ready(service.call(request)) else { panic!("every worker is excluded") };
    assert!(error.to_string().starts_with("no eligible regular worker"), "{error}");
}

#[test]
fn a_worker_cannot_ask_for_a_pause_without_end() {
    let script = Script { status: StatusCode::TOO_MANY_REQUESTS, ..Script::default() };
    let mut setup = Setup::new(Script { retry_after: Some("31536000"), ..script });
    drop(ready(setup.call()).unwrap());
    let router = setup.service.router();
    let weight = |now: pointsman::Time| router.at(now).workers()[0].effective_weight;
    assert!(weight(router.now()) < 1.0);
    let longest = 300 * 1_000_000_000;
    assert_eq!(weight((router.now().as_nanos() + longest).into()), 1.0);
}

#[test]
fn a_worker_that_is_not_ready_is_waited_for_by_its_request_alone() {
    let mut setup = Setup::new(Script { is_ready: AtomicBool::new(false), ..Script::default() });
    let noop = &mut Context::from_waker(Waker::noop());
    let mut waiting = pin!(setup.call());
    assert!(poll(waiting.as_mut()).is_pending());
    assert!(setup.service.poll_ready(noop).is_ready());
    assert_eq!((setup.in_flight(), setup.script.calls.lock().len()), (1, 0));
    setup.script.is_ready.store(true, Relaxed);
    assert!(poll(waiting.as_mut()).is_ready());
    assert_eq!((setup.script.calls.lock().len(), setup.script.clones.load(Relaxed)), (1, 1));
}

#[test]
fn the_hint_decides_where_a_prefix_goes() {
    let script = Arc::new(Script { knows_its_end: true, steps: vec![], ..Script::default() });
    let mut service = PolicyService::new(router("cache_aware"));
    for name in ["a", "b", "c", "d"] {
        service.add(WorkerSpec::new(name), Engine(name, Arc::clone(&script))).unwrap();
    }
    let fingerprint = |text: &str| {
        let mut blocks = [0; 64];
        let request = pointsman::Request::text(text).namespace("model");
        PromptHint::fingerprint(&service.router().fingerprint(&request, &mut blocks).unwrap())
    };
    let text = "Once upon a time there was a router. ".repeat(50);
    let json = |end: &str| PromptHint::json(format!("{{\"text\": \"{text}{end}\"}}").into_bytes());
    let tokens: Vec<u32> = (0..500).collect();
    let cases = [
        vec![PromptHint::text(text.clone().into_bytes()), fingerprint(&text), json(" Go on.")],
        vec![PromptHint::tokens(tokens.clone()), PromptHint::tokens(tokens)],
        vec![PromptHint::none().routing_key(*b"s"), PromptHint::none().routing_key(*b"s")],
    ];
    for hints in cases {
        script.calls.lock().clear();
        for hint in hints.iter().cycle().take(12) {
            let mut request = Request::new(());
            request.extensions_mut().insert(hint.clone().namespace("model"));
            drop(ready(service.call(request)).unwrap());
        }
        let calls = script.calls.lock();
        assert!(calls.iter().all(|name| *name == calls[0]), "{calls:?} {:?}", hints[0]);
    }
}

#[test]
fn a_hint_that_cannot_be_read_is_no_hint() {
    let script = Arc::new(Script::default());
    let mut service = PolicyService::new(router("cache_aware"));
    service.add(WorkerSpec::new("a"), Engine("a", Arc::clone(&script))).unwrap();
    let mut request = Request::new(());
    request.extensions_mut().insert(PromptHint::json(*b"{\"text\": oops"));
    assert!(ready(service.call(request)).is_ok());
}

#[test]
fn workers_come_and_go_with_their_services() {
    let mut setup = Setup::new(Script::default());
    let duplicate = Engine("twice", Arc::clone(&setup.script));
    assert!(setup.service.add(WorkerSpec::new("http://a"), duplicate).is_err());
    let body = ready(setup.call()).unwrap().into_body();
    setup.service.remove(setup.id).unwrap();
    assert!(setup.service.remove(setup.id).is_err());
    let error = ready(setup.call()).unwrap_err();
    let ServiceError::Routing(RoutingError::NoHealthyWorkers { .. }) = &error else {
        panic!("{error}")
    };
    drop(body);
    assert!(format!("{:?}", setup.service).contains("services: 0"));
}

/// Not ready while limits keep every worker, and woken when a place comes free.
#[test]
fn readiness_is_room() {
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let mut config = RouterConfig::default();
    config.max_tickets = 64;
    let mut service = PolicyService::new(Router::new(config).unwrap());
    let engine = || Engine("a", Arc::new(Script::default()));
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut is_ready = |service: &mut PolicyService<Engine>| {
        Service::<Request<()>>::poll_ready(service, &mut cx).is_ready()
    };
    assert!(is_ready(&mut service), "without workers there is nothing to wait for");
    service.add(WorkerSpec::new("a").max_in_flight(2), engine()).unwrap();
    let first = ready(service.call(Request::new(()))).unwrap();
    assert!(is_ready(&mut service));
    let second = ready(service.call(Request::new(()))).unwrap();
    assert!(!is_ready(&mut service) && !is_ready(&mut service));
    assert_eq!(woken.0.load(Relaxed), 0);
    drop(first);
    assert_eq!(woken.0.load(Relaxed), 1);
    assert!(is_ready(&mut service));
    // A full ticket table is a limit, where workers have one.
    let limited = service.router().workers()[0].info.id;
    service.router().set_max_in_flight(limited, Some(1000)).unwrap();
    let held: Vec<_> = (0..63).map(|_| ready(service.call(Request::new(()))).unwrap()).collect();
    assert!(!is_ready(&mut service));
    drop(second);
    assert_eq!(woken.0.load(Relaxed), 2);
    assert!(is_ready(&mut service));
    drop(held);
    // And one without a limit is always ready.
    service.add(WorkerSpec::new("b"), engine()).unwrap();
    let held: Vec<_> = (0..70).map(|_| ready(service.call(Request::new(()))).unwrap()).collect();
    assert!(is_ready(&mut service));
    drop(held);
}
