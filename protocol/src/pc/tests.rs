mod machine;
mod sending;
mod simulation;
mod traces;
