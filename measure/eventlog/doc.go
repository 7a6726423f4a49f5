// Package eventlog reads the logs that firmware keeps of what it measured: TCG crypto-agile logs of TDs (the CCEL's
// data) and of TPMs, and the CCEL ACPI table itself (measure.md section 6).
//
// It owns parsing, replay, the rules by which a digest follows from an event's data, readable descriptions, the view
// of a TPM log as a TD would have measured it, and comparison of two logs. A log is an untrusted claim: only the
// register values replayed from it tie it to a quote, and a description is what the log says, nothing more. Logs of
// any VMM are read, whatever their algorithms and padding; sizes are bounded before use.
//
// Parsed logs alias the input and are read-only, so they are safe for concurrent use. The package neither reads
// devices nor judges events.
package eventlog
