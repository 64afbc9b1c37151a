mod machine;
mod sending;
mod traces;
