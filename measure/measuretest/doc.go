// Package measuretest is TDX in software: a platform with a PKI shaped like Intel's, TDs with registers and reports, a
// quoting enclave, the provisioning service's answers, and faults in every one of them (attestation.md section 16).
//
// It owns what a machine with TDX and Intel's services would do, so that every flow runs where neither exists. Nothing
// it makes is evidence: the root certificate is generated from a seed, says OU=SIMULATED, and no production policy
// accepts it. It trusts its caller, who is a test or a local network, and gives whoever reaches its service whatever
// they ask for. Equal seeds, options and calls give equal bytes: keys are derived, signatures have derived nonces,
// dates come from the options. A Platform and its TDs may be used concurrently.
//
// It refuses to be linked into production: only tests and host/localnet may import it (tests/arch).
package measuretest
