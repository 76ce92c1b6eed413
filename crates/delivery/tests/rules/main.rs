//! The rules, tried through their public doors with tables of cases.

mod address;
mod draft;
mod keyword;
