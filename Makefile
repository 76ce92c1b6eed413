# The same targets for people and for the build machine. Everything else is done by cargo.
.PHONY: help demo test check bench instructions crash soak deny

help:          ## show this list
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile
demo:          ## send 500 interview notices through a local Twilio simulator with faults
	cargo run --release --locked -p recado -- demo
test:          ## format, lints, every test, one iteration of each benchmark
	./scripts/test
check:         ## format, lints, fast tests
	cargo fmt --all --check && cargo clippy --workspace --all-targets --locked -- -D warnings && cargo test --workspace --lib --locked
bench:         ## measure; figures and method in docs/benchmarks.md
	./scripts/bench
instructions:  ## count what the store executes; BASE=main compares (needs valgrind)
	./scripts/instructions $(BASE)
crash:         ## kill -9 at 200 random moments of load
	RECADO_CRASH_RUNS=200 cargo test --release --locked -p recado --test it crash -- --nocapture
soak:          ## half an hour of every trouble at random (RECADO_SOAK_SEED repeats one)
	RECADO_SOAK_SECONDS=1800 cargo test --release --locked -p recado --test it long_day -- --nocapture
deny:          ## advisories, licenses and sources of every library (needs cargo-deny)
	cargo deny check
