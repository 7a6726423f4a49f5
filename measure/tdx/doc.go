// Package tdx holds what evidence consists of: measurement registers and the rule that extends them, the quotes of TDs
// and enclaves with their signature part, TDREPORTs, and the COCOON image hash computed from them (measure.md
// section 9.1, attestation.md section 9).
//
// It owns byte layouts, not judgement: nothing here decides whether evidence is acceptable, and nothing here verifies a
// signature; measure/dcap does. It trusts no input: every parser is bounded, nested sizes must fit exactly, and what
// does not fit is an error. It refuses quotes that nobody here could verify with ErrType. All values are plain data,
// safe to copy and to use concurrently; views alias the bytes they were read from.
package tdx
