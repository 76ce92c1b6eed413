use super::*;

const REASON: OutageReason = OutageReason::ServerError(503);
const SECOND: Duration = Duration::from_secs(1);

/// A breaker, and the order in which its requests begin.
struct Case {
    breaker: Breaker,
    now: Instant,
    number: u64,
}

impl Case {
    fn new(lanes_needed: usize) -> Self {
        Self {
            breaker: Breaker::new(1, lanes_needed),
            now: Instant::now(),
            number: 0,
        }
    }

    fn start(&mut self, lane: usize) -> Request {
        self.number += 1;
        let request = Request {
            number: self.number,
            lane,
        };
        self.breaker.started(request, self.now);
        request
    }

    fn fail(&mut self, request: Request) -> Option<Change> {
        let tick = Tick {
            now: self.now,
            random: u64::MAX,
        };
        self.breaker.failed(request, REASON, tick)
    }

    fn succeed(&mut self, request: Request) -> Option<Change> {
        self.breaker.succeeded(request, self.now)
    }

    fn open(&mut self) {
        for _ in 0..FAILURES_MAX {
            let request = self.start(0);
            self.fail(request);
        }
        assert!(self.breaker.period().is_some());
    }

    /// Waits out the pause, and starts the probe.
    fn probe(&mut self) -> Request {
        self.now += self.breaker.pause(self.now);
        assert_eq!(self.breaker.allows(0, self.now), 1);
        self.start(0)
    }
}

#[test]
fn the_third_failure_in_a_row_opens_it() {
    let mut case = Case::new(1);
    for expected in [None, None, Some(Change::Opened)] {
        let request = case.start(0);
        assert_eq!(case.fail(request), expected);
    }
    assert_eq!(case.breaker.allows(0, case.now), 0);
}

#[test]
fn a_success_between_begins_the_count_again_unless_it_began_before_the_failures() {
    let mut case = Case::new(1);
    let early = case.start(0);
    for _ in 0..2 {
        let request = case.start(0);
        assert_eq!(case.fail(request), None);
    }
    let between = case.start(0);
    case.succeed(between);
    for expected in [None, None] {
        let request = case.start(0);
        assert_eq!(case.fail(request), expected);
    }
    // It says that the provider worked before, which nobody doubts.
    case.succeed(early);
    let request = case.start(0);
    assert_eq!(case.fail(request), Some(Change::Opened));
}

#[test]
fn one_probe_at_a_time_with_growing_pauses() {
    let mut case = Case::new(1);
    case.open();
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        let pause = case.breaker.pause(case.now);
        let longest = SECOND * seconds;
        assert!(pause <= longest && pause > longest * 9 / 10, "{pause:?}");
        let probe = case.probe();
        assert_eq!(case.breaker.allows(0, case.now), 0, "one at a time");
        assert_eq!(case.fail(probe), Some(Change::Probed));
    }
    let probe = case.probe();
    let Some(Change::Closed(period)) = case.succeed(probe) else {
        panic!("it closes");
    };
    assert_eq!((period.probes, period.reason), (10, REASON));
    assert!(case.breaker.allows(0, case.now) > 0);
}

#[test]
fn half_of_a_pause_is_certain_and_the_scale_divides_it() {
    for (random, scale, expected) in [
        (0, 1, SECOND / 2),
        (1 << 63, 1, SECOND * 3 / 4),
        (0, 100, SECOND / 200),
    ] {
        assert_eq!(wait(SECOND, scale, random), expected);
    }
}

#[test]
fn a_probe_that_is_not_made_leaves_its_place_to_the_next() {
    let mut case = Case::new(1);
    case.open();
    let probe = case.probe();
    case.breaker.not_made(probe, case.now);
    assert_eq!(case.breaker.allows(0, case.now), 1);
}

#[test]
fn requests_that_hang_are_few_until_one_is_answered() {
    let mut case = Case::new(1);
    let mut hanging = Vec::new();
    while case.breaker.allows(0, case.now) > 0 {
        hanging.push(case.start(0));
    }
    assert_eq!(hanging.len(), EXPOSED_MIN);
    case.now += SECOND * 20;
    assert_eq!(case.breaker.allows(0, case.now), 0);
    case.succeed(hanging[0]);
    assert_eq!(case.breaker.allows(0, case.now), EXPOSED_MIN);
    // What began before the success does not make room a second time.
    case.fail(hanging[1]);
    assert_eq!(case.breaker.allows(0, case.now), EXPOSED_MIN);
}

#[test]
fn many_answers_allow_many_requests_for_a_moment() {
    let mut case = Case::new(1);
    for _ in 0..1_000 {
        let request = case.start(0);
        case.succeed(request);
    }
    assert_eq!(case.breaker.allows(0, case.now), 1_000);
    case.now += EXPOSED_FOR * 2;
    assert_eq!(case.breaker.allows(0, case.now), EXPOSED_MIN);
}

#[test]
fn what_hung_through_the_outage_does_not_open_it_again() {
    let mut case = Case::new(1);
    let hanging: Vec<_> = (0..4).map(|_| case.start(0)).collect();
    case.open();
    let probe = case.probe();
    case.succeed(probe);
    for request in hanging {
        assert_eq!(case.fail(request), None);
    }
    assert_eq!(case.breaker.allows(0, case.now), EXPOSED_MIN);
}

#[test]
fn one_lane_alone_does_not_open_what_needs_two_nor_use_it_up() {
    let mut case = Case::new(2);
    for _ in 0..50 {
        let request = case.start(0);
        assert_eq!(case.fail(request), None);
    }
    assert_eq!(case.breaker.allows(0, case.now), EXPOSED_MIN);
    let request = case.start(1);
    assert_eq!(case.fail(request), Some(Change::Opened));
}

#[test]
fn a_lane_with_nothing_open_has_a_place_while_others_hang() {
    let mut case = Case::new(2);
    for _ in 0..EXPOSED_MIN {
        case.start(0);
    }
    assert_eq!(case.breaker.allows(0, case.now), 0);
    for lane in 1..=EXPOSED_BEYOND {
        assert_eq!(case.breaker.allows(lane, case.now), 1);
        case.start(lane);
        assert_eq!(case.breaker.allows(lane, case.now), 0);
    }
    // Ten that hang are all that an outage of all may cost before anybody knows.
    assert_eq!(case.breaker.allows(9, case.now), 0);
    assert_eq!(case.breaker.allows_urgent(4, case.now), 0);
}

#[test]
fn urgent_requests_that_hang_leave_a_place_to_the_others() {
    for (lanes_needed, expected) in [(1, 4), (2, 3)] {
        let mut case = Case::new(lanes_needed);
        for _ in 0..EXPOSED_MIN {
            case.start(0);
        }
        let urgent = case.breaker.allows_urgent(4, case.now);
        assert_eq!(urgent, expected);
        for _ in 0..urgent {
            case.start(0);
        }
        assert_eq!(case.breaker.allows_urgent(4, case.now), 0);
        assert_eq!(case.breaker.allows(1, case.now), lanes_needed - 1);
    }
}

#[test]
fn what_began_while_answers_came_faster_takes_no_place_of_urgent_ones_or_other_lanes() {
    for (lanes_needed, expected) in [(1, 4), (2, 3)] {
        let mut case = Case::new(lanes_needed);
        for _ in 0..50 {
            let request = case.start(0);
            case.succeed(request);
        }
        let faster: Vec<_> = (0..50).map(|_| case.start(0)).collect();
        case.now += EXPOSED_FOR * 2;
        assert_eq!(case.breaker.allows(0, case.now), 0);
        assert_eq!(case.breaker.allows_urgent(4, case.now), expected);
        for _ in 0..expected {
            case.start(0);
        }
        assert_eq!(case.breaker.allows_urgent(4, case.now), 0);
        assert_eq!(case.breaker.allows(1, case.now), lanes_needed - 1);
        if lanes_needed > 1 {
            case.start(1);
        }
        assert_eq!(case.breaker.allows_urgent(4, case.now), 0);
        assert_eq!(case.breaker.allows(2, case.now), 0);
        // The end of those that began before makes no room for more.
        for request in faster {
            case.breaker.not_made(request, case.now);
            let open = case.breaker.exposed.total();
            let urgent = case.breaker.allows_urgent(4, case.now);
            let more = case.breaker.allows(2, case.now).max(urgent);
            assert!(more == 0 || open + more <= EXPOSED_MIN + EXPOSED_BEYOND);
        }
    }
}

#[test]
fn urgent_requests_that_were_not_made_leave_their_places_to_the_next() {
    let mut case = Case::new(1);
    for _ in 0..EXPOSED_MIN {
        case.start(0);
    }
    for _ in 0..10 {
        let urgent: Vec<_> = (0..4).map(|_| case.start(0)).collect();
        assert_eq!(case.breaker.allows_urgent(4, case.now), 0);
        for request in urgent {
            case.breaker.not_made(request, case.now);
        }
        assert_eq!(case.breaker.allows_urgent(4, case.now), 4);
    }
}
