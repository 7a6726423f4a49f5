// Package config reads the guest's configuration: the measured role (role.json in the spec section of the config
// disk) and the unmeasured runtime document (image.md section 14).
//
// It owns two Go types that do not convert into each other: Measured, which the spec hash in RTMR3 covers and which
// security decisions may use, and Runtime, which the host chooses at will and which holds connectivity and labels
// only. It trusts neither: both are strict JSON, every field is checked by a table of rules, and all findings are
// reported at once with their paths. The disk is read once into memory; what the host does to it afterwards has no
// effect. Values are plain data. It refuses unknown keys, defaults that depend on the host, and scripts.
package config
