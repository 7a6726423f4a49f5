package main

import (
	"fmt"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/eventlog"
	"cocoon/measure/tdx"
)

// readQuote reads a file with a TD quote.
func readQuote(path string) (*tdx.Quote, error) {
	data, err := readFile(path, tdx.MaxQuote)
	if err != nil {
		return nil, err
	}
	q, err := tdx.ParseQuote(data)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", path, err))
	}
	if q.TD == nil {
		return nil, cli.Usagef("%s is a quote of an %s enclave, not of a TD", path, q.TEE)
	}
	return q, nil
}

// logKind is the value of --log-kind.
type logKind string

// The kinds of logs.
const (
	kindTD  logKind = "td"
	kindTPM logKind = "tpm"
)

// kindFlag describes --log-kind.
const kindFlag = "whose log it is: `td` (CCEL) or tpm"

// readLog reads an event log file.
func readLog(path string, kind logKind) (*eventlog.Log, error) {
	k := eventlog.TD
	switch kind {
	case kindTD:
	case kindTPM:
		k = eventlog.TPM
	default:
		return nil, cli.Usagef("log kind %q is neither td nor tpm", kind)
	}
	data, err := readFile(path, maxEvidence)
	if err != nil {
		return nil, err
	}
	log, err := eventlog.Parse(data, k)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", path, err))
	}
	return log, nil
}
