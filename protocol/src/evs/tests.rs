mod bench;
mod order;
mod simulation;
mod states;
