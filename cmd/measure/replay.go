package main

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/eventlog"
	"cocoon/measure/tdx"
)

func setupReplay(fs *flag.FlagSet) action {
	logPath := fs.String("ccel", "", "event log `file`")
	quotePath := fs.String("quote", "", "quote `file` to compare with")
	kind := fs.String("log-kind", string(kindTD), kindFlag)
	return func(_ context.Context, e *env, _ []string) error {
		if *logPath == "" {
			return cli.Usagef("replay needs --ccel")
		}
		log, err := readLog(*logPath, logKind(*kind))
		if err != nil {
			return err
		}
		doc, err := replayLog(log)
		if err != nil {
			return err
		}
		if *quotePath != "" {
			quote, err := readQuote(*quotePath)
			if err != nil {
				return err
			}
			if doc.Compared, err = log.Compare(quote.TD.RTMR); err != nil {
				return cli.Tag(cli.KindUsage, err)
			}
		}
		if err := e.result(doc); err != nil {
			return err
		}
		return doc.verdict()
	}
}

// replayDoc is the document of `replay`.
type replayDoc struct {
	Schema    string          `json:"schema"`
	Bank      string          `json:"bank"`
	Registers []registerValue `json:"registers"`
	Events    []loggedEvent   `json:"events"`
	// Mismatches are events whose digest does not follow from their data: the log was edited.
	Mismatches []string          `json:"mismatches"`
	Compared   []eventlog.Result `json:"compared,omitempty"`
}

type registerValue struct {
	Register string `json:"register"`
	Value    string `json:"value"`
}

type loggedEvent struct {
	Register    string             `json:"register"`
	Type        eventlog.EventType `json:"type"`
	Description string             `json:"description"`
	Digest      string             `json:"digest"`
}

// replayLog computes the registers in the SHA-384 bank, or in the log's first bank where it has none.
func replayLog(log *eventlog.Log) (*replayDoc, error) {
	bank := eventlog.SHA384
	if !slices.Contains(log.Algorithms, bank) && len(log.Algorithms) > 0 {
		bank = log.Algorithms[0]
	}
	values, err := log.Replay(bank)
	if err != nil {
		return nil, err
	}
	doc := &replayDoc{Schema: "cocoon.measure.replay/1", Bank: bank.String(), Events: []loggedEvent{}, Mismatches: []string{}}
	for _, index := range slices.Sorted(maps.Keys(values)) {
		doc.Registers = append(doc.Registers, registerValue{registerName(log, index), hex.EncodeToString(values[index])})
	}
	for i := range log.Events {
		ev := &log.Events[i]
		doc.Events = append(doc.Events, loggedEvent{
			Register: registerName(log, ev.Index), Type: ev.Type, Description: ev.Describe(),
			Digest: hex.EncodeToString(ev.Digest(bank)),
		})
	}
	for _, m := range log.Recompute() {
		doc.Mismatches = append(doc.Mismatches, fmt.Sprintf("event %d, %s: %s", m.Event, m.Algorithm, m.Reason))
	}
	return doc, nil
}

func registerName(log *eventlog.Log, index uint32) string {
	if log.Kind == eventlog.TPM {
		return "PCR" + strconv.Itoa(int(index))
	}
	return tdx.Register(min(index, uint32(tdx.RTMR3))).String() // parsed logs hold 1..4
}

// verdict is the error for a log that contradicts itself or the quote.
func (d *replayDoc) verdict() error {
	for _, r := range d.Compared {
		if !r.OK() && !unlogged(r) {
			return cli.Tag(cli.KindDifference, fmt.Errorf("log and quote differ: %s", r))
		}
	}
	if len(d.Mismatches) > 0 {
		return cli.Tag(cli.KindDifference, fmt.Errorf("the log contradicts itself: %s", d.Mismatches[0]))
	}
	return nil
}

// unlogged reports the register that firmware does not log: it is extended at run time, by the guest's init.
func unlogged(r eventlog.Result) bool { return r.Register == tdx.RTMR3 && r.Events == 0 }

// Text prints the events, then the registers and what the quote says.
func (d *replayDoc) Text(w io.Writer) error {
	const shown = 16
	rows := make([][]string, 0, len(d.Events)+2)
	rows = append(rows, []string{"REGISTER", "EVENT", "DESCRIPTION", "DIGEST"})
	for _, e := range d.Events {
		rows = append(rows, []string{e.Register, e.Type.String(), e.Description, e.Digest[:min(shown, len(e.Digest))] + "..."})
	}
	if err := cli.Table(w, append(rows, []string{})); err != nil {
		return err
	}
	rows = nil
	for _, r := range d.Registers {
		rows = append(rows, []string{r.Register, r.Value})
	}
	for _, m := range d.Mismatches {
		rows = append(rows, []string{"mismatch", m})
	}
	for _, c := range d.Compared {
		words := c.String()
		if !c.OK() && unlogged(c) {
			words = "RTMR3 is not in the log: it follows from the spec, see measure spec"
		}
		rows = append(rows, []string{"quote", words})
	}
	return cli.Table(w, rows)
}
