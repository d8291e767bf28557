//! The policies that do not read the prompt: cases, tables, and the bars that they are held against.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use pointsman::policy::{
    PowerOfTwoConfig, power_of_two::PowerOfTwoPolicy, random::RandomPolicy,
    round_robin::RoundRobinPolicy,
};
use pointsman::{
    Outcome, PolicyConfig, Request, Role, Router, RouterConfig, RoutingPolicy, Usage, WorkerSpec,
};

use super::allocations::Counts;
use super::bars::{Bar, Limit};
use super::measure::{Figure, Run, Table};
use super::proposal;

pub const SIZES: [usize; 3] = [8, 64, 1024];
pub const POLICIES: [&str; 3] = ["random", "round_robin", "power_of_two"];
/// The name of the row of atomic read-modify-writes alone.
const READ_MODIFY_WRITES: &str = "read-modify-writes, 5";

/// The name under which a case is found.
fn name(what: &str, policy: &str, workers: usize, threads: usize) -> String {
    format!("{what}/{policy}/{workers}/{threads}")
}

/// All cases, or the one of this name.
pub fn cases(only: Option<&str>) -> Table<'static> {
    let mut table = Table::default();
    for (workers, threads) in SIZES.into_iter().flat_map(|size| [(size, 1), (size, 2)]) {
        let mut add = |what, policy, make: &dyn Fn(usize) -> Run<'static>| {
            let name = name(what, policy, workers, threads);
            if only.is_none_or(|only| only == name) {
                table.add(name, threads, make(workers));
            }
        };
        add("floor", "round_robin", &round_robin_floor);
        add("floor", "power_of_two", &power_of_two_floor);
        if threads == 1 {
            add("locked", READ_MODIFY_WRITES, &locked);
        }
        add("direct", "random", &|n| select(n, RandomPolicy::new(None)));
        add("direct", "round_robin", &|n| select(n, RoundRobinPolicy::new(None)));
        add("direct", "power_of_two", &|n| {
            select(n, PowerOfTwoPolicy::new(&PowerOfTwoConfig::default(), None))
        });
        for policy in POLICIES {
            add("dyn", policy, &|n| select_dyn(n, policy));
            add("router", policy, &|n| select_and_complete(n, policy));
            add("bare", policy, &|n| select_bare(n, policy));
        }
        add("before", "random", &before::<proposal::Random>);
        add("before", "round_robin", &before::<proposal::RoundRobin>);
        add("before", "power_of_two", &before::<proposal::PowerOfTwo>);
    }
    table
}

/// One atomic increment and one load.
pub fn round_robin_floor(workers: usize) -> Run<'static> {
    let counter = AtomicUsize::new(0);
    let loads = loads(workers);
    Box::new(move |operations| {
        for _ in 0..operations {
            let turn = counter.fetch_add(1, Relaxed) & (loads.len() - 1);
            black_box(loads[turn].load(Relaxed));
        }
    })
}

/// Two random draws and two loads.
fn power_of_two_floor(workers: usize) -> Run<'static> {
    let loads = loads(workers);
    let load = move || loads[(((draw() >> 32) * loads.len() as u64) >> 32) as usize].load(Relaxed);
    Box::new(move |operations| {
        for _ in 0..operations {
            black_box(black_box(load()).min(black_box(load())));
        }
    })
}

/// As many atomic read-modify-writes as a selection and its completion need: to enter a stripe, charge the worker,
/// close the ticket, release the worker, give the reference to the router back. What the processor
/// takes for these alone is what remains when everything else costs nothing.
fn locked(_workers: usize) -> Run<'static> {
    #[repr(align(128))]
    struct Line(AtomicUsize);
    let lines: [Line; 5] = std::array::from_fn(|_| Line(AtomicUsize::new(0)));
    Box::new(move |operations| {
        for _ in 0..operations {
            lines.iter().for_each(|line| {
                black_box(line.0.fetch_add(1, Relaxed));
            });
        }
    })
}

fn loads(workers: usize) -> Vec<AtomicUsize> {
    (0..workers).map(|_| AtomicUsize::new(0)).collect()
}

/// SplitMix64 on a state of the thread's own.
fn draw() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(1) };
    }
    let mut z = STATE.with(|state| {
        state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        state.get()
    });
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn config(policy: &str) -> PolicyConfig {
    match policy {
        "random" => PolicyConfig::Random,
        "round_robin" => PolicyConfig::RoundRobin,
        _ => PolicyConfig::PowerOfTwo(Default::default()),
    }
}

fn router(workers: usize, policy: &str) -> Router {
    let mut settings = RouterConfig::default();
    settings.policy = config(policy);
    settings.max_workers = workers;
    let router = Router::new(settings).expect("the configuration is valid");
    for i in 0..workers {
        let url = format!("http://10.0.{}.{}:8000", i / 256, i % 256);
        router.at(0).add_worker(WorkerSpec::new(url)).expect("there is room");
    }
    router
}

fn select<P: RoutingPolicy + 'static>(workers: usize, policy: P) -> Run<'static> {
    let router = router(workers, "random");
    Box::new(move |operations| {
        router.at(1).with_candidates(Role::Regular, &Request::none(), |candidates, request| {
            for _ in 0..operations {
                let decision = policy.select_single(black_box(candidates), black_box(request));
                black_box(&decision);
            }
        });
    })
}

fn select_dyn(workers: usize, policy: &str) -> Run<'static> {
    let router = router(workers, "random");
    let policy =
        pointsman::policy::PolicyFactory::create(&config(policy)).expect("a built-in policy");
    Box::new(move |operations| {
        let policy: &dyn RoutingPolicy = black_box(&*policy);
        router.at(1).with_candidates(Role::Regular, &Request::none(), |candidates, request| {
            for _ in 0..operations {
                let decision = policy.select_single(black_box(candidates), black_box(request));
                black_box(&decision);
            }
        });
    })
}

pub fn select_and_complete(workers: usize, policy: &str) -> Run<'static> {
    let router = router(workers, policy);
    let clock = AtomicU64::new(1);
    Box::new(move |operations| {
        let request = Request::none();
        let now = clock.load(Relaxed);
        for _ in 0..operations {
            let selection = router.at(now).select(black_box(&request)).expect("all are healthy");
            black_box(&selection);
            let ended = router.at(now).complete(selection, Outcome::Success, Usage::default());
            ended.expect("the ticket is open");
        }
    })
}

/// As [`select_and_complete`], for hosts that keep the ticket's number: C, above all.
fn select_bare(workers: usize, policy: &str) -> Run<'static> {
    let router = router(workers, policy);
    Box::new(move |operations| {
        let request = Request::none();
        for _ in 0..operations {
            let selection =
                router.at(1).select_detached(black_box(&request)).expect("all are healthy");
            black_box(&selection);
            let ended = router.at(1).complete(selection.ticket, Outcome::Success, Usage::default());
            ended.expect("the ticket is open");
        }
    })
}

fn before<P: proposal::Policy + Default + 'static>(workers: usize) -> Run<'static> {
    let workers = proposal::workers(workers);
    let policy = P::default();
    Box::new(move |operations| {
        for _ in 0..operations {
            let worker = policy.select_single(black_box(&workers)).expect("all are healthy");
            worker.load().fetch_add(1, Relaxed);
            black_box(&worker);
            worker.load().fetch_sub(1, Relaxed);
        }
    })
}

/// The floor that a policy's decision stands on.
fn floor_of(policy: &str) -> &'static str {
    if policy == "round_robin" { "round_robin" } else { "power_of_two" }
}

/// Prints what was measured.
pub struct Report {
    pub table: Table<'static>,
}

impl Report {
    fn number(&self, what: &str, policy: &str, workers: usize, threads: usize) -> usize {
        let name = name(what, policy, workers, threads);
        self.table.number(&name).expect("every combination is a case")
    }

    pub fn costs(&self) {
        println!("Nanoseconds per operation on one thread: median [quartiles]\n");
        println!("{:<24}{:>26}{:>26}{:>26}", "", "8 workers", "64", "1,024");
        self.rows(1, |case| self.table.nanoseconds(case));
    }

    pub fn throughput(&self) {
        println!("\nNanoseconds per operation on two threads, of both together\n");
        self.rows(2, |case| self.table.nanoseconds(case));
    }

    fn rows(&self, threads: usize, figure: impl Fn(usize) -> Figure) {
        let row = |what: &str, policy: &str| {
            print!("{:<24}", format!("{} {policy}", label(what)));
            for workers in SIZES {
                let figure = figure(self.number(what, policy, workers, threads));
                print!("{:>26}", figure.to_string());
            }
            println!();
        };
        ["round_robin", "power_of_two"].into_iter().for_each(|policy| row("floor", policy));
        if threads == 1 {
            row("locked", READ_MODIFY_WRITES);
        }
        for what in ["direct", "dyn", "router", "bare", "before"] {
            POLICIES.into_iter().for_each(|policy| row(what, policy));
        }
    }

    pub fn allocations(&self) {
        println!("\nAllocations and frees per operation, 64 workers\n");
        for what in ["direct", "dyn", "router", "bare", "before"] {
            for policy in POLICIES {
                let (allocations, frees) = self.counts(what, policy);
                println!(
                    "{:<24}{allocations:>8.2}{frees:>8.2}",
                    format!("{} {policy}", label(what))
                );
            }
        }
    }

    fn counts(&self, what: &str, policy: &str) -> (f64, f64) {
        const OPERATIONS: u64 = 1000;
        let name = name(what, policy, 64, 1);
        let case = self.table.case(&name).expect("every combination is a case");
        let before = Counts::now();
        case.run(OPERATIONS);
        Counts::now().per_operation(before, OPERATIONS)
    }

    /// Ratios taken round by round, the worst of the policies and sizes.
    pub fn bars(&self) -> Vec<Bar> {
        let mut bars = vec![
            self.over_floor("direct", 4.0, floor_of),
            self.over_floor("dyn", 4.0, floor_of),
            self.over_floor("router", 12.0, |_| "power_of_two"),
        ];
        bars.extend(["direct", "dyn", "router"].map(|what| self.growth(what)));
        bars.extend([self.together(), self.no_allocation()]);
        bars
    }

    /// The proposal's code beside it.
    pub fn comparison(&self) {
        println!("\nFor comparison: the proposal's cost over the router's\n");
        for workers in SIZES {
            for policy in POLICIES {
                let base = self.number("router", policy, workers, 1);
                let ratio = self.table.ratio(self.number("before", policy, workers, 1), base);
                println!("{:<24}{ratio:>26}", format!("{policy}, {workers} workers"));
            }
        }
    }

    fn over_floor(&self, what: &str, limit: f64, floor: impl Fn(&str) -> &'static str) -> Bar {
        let figures = POLICIES.into_iter().flat_map(|policy| {
            let floor = floor(policy);
            SIZES.map(move |workers| {
                let floor = self.number("floor", floor, workers, 1);
                let ratio = self.table.ratio(self.number(what, policy, workers, 1), floor);
                (format!("{policy}, {workers} workers"), ratio)
            })
        });
        let what = format!("{}: over the floor", label(what));
        Bar { what, limit: Limit::AtMost(limit), figures: figures.collect() }
    }

    fn growth(&self, what: &str) -> Bar {
        let figures = POLICIES.map(|policy| {
            let few = self.number(what, policy, 8, 1);
            let ratio = self.table.ratio(self.number(what, policy, 1024, 1), few);
            (policy.to_owned(), ratio)
        });
        let what = format!("{}: 1,024 workers over 8", label(what));
        Bar { what, limit: Limit::AtMost(1.3), figures: figures.into() }
    }

    fn together(&self) -> Bar {
        let figures = POLICIES.map(|policy| {
            let one = self.number("router", policy, 64, 1);
            let ratio = self.table.ratio(self.number("router", policy, 64, 2), one);
            (policy.to_owned(), ratio)
        });
        let what = "select + complete: two threads' time over one's".to_owned();
        Bar { what, limit: Limit::AtMost(1.0), figures: figures.into() }
    }

    fn no_allocation(&self) -> Bar {
        let figures = ["direct", "dyn", "router", "bare"].into_iter().flat_map(|what| {
            POLICIES.map(|policy| {
                let (allocations, frees) = self.counts(what, policy);
                (format!("{} {policy}", label(what)), Figure::exactly(allocations + frees))
            })
        });
        let what = "allocations and frees per operation".to_owned();
        Bar { what, limit: Limit::AtMost(0.0), figures: figures.collect() }
    }
}

fn label(what: &str) -> &str {
    match what {
        "direct" => "select_single",
        "dyn" => "dyn select_single",
        "router" => "select + complete",
        "bare" => "by number",
        what => what,
    }
}
