mod bench;
mod changes;
mod leaving;
mod order;
mod robustness;
mod simulation;
mod states;
mod suspicion;
