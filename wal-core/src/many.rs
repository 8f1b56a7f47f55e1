#![doc = include_str!("../docs/from-one-machine-to-many.md")]
