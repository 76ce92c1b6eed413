//! What a reader should be able to rely on, kept by looking at the sources and the documents: who
//! imports whom, how long things are, which words are used, and that documents list what there is.

mod commits;
mod cycles;
mod declarations;
mod documents;
mod imports;
mod lengths;
mod source;
mod words;
