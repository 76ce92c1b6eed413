//! Bad days from end to end: each file tells what happens to the program, and what must come out of
//! it by the simulator's own log.

mod campaign_limit;
mod late_list;
mod long_day;
mod opt_out;
mod outage;
mod refused_number;
mod twins;
mod two_names;
