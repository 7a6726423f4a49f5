// Package device is where the guest's evidence comes from: quotes, TDREPORTs, measurement registers and the firmware's
// event log (attestation.md section 17).
//
// It owns two sources with the same methods. Hardware asks the kernel: quotes through configfs-tsm, reports by ioctl,
// registers through sysfs, the log from the ACPI tables. Simulated asks the software TDX of the host over a socket or a
// serial port; it has no keys and no trust roots, what it returns is worth nothing to a production policy, and only the
// test variant may choose it. Both check that a quote or report is about the data they asked for. Hardware trusts the
// kernel's tdx_guest driver, Simulated trusts the host that runs the test.
//
// All methods may be called concurrently; quotes are made one at a time, as the kernel and the host do. Every wait ends
// with its context or a deadline of this package. It refuses providers other than tdx_guest and never falls back from
// one source to the other.
package device
