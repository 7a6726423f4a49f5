package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"cocoon/contracts/api/stats"
	"cocoon/guest/boot"
	"cocoon/measure/tdx"
)

// maxBoot bounds the document of the boot.
const maxBoot = 1 << 20

// self is what a process knows of the machine that it runs on, by that machine's own quote.
type self struct {
	// image is the hash in hex; empty where there is no TD, or an external router has it.
	image        string
	measurements *tdx.Measurements
	simulated    bool
	// eligible says whether the root contract lists the image; nil where there is no root.
	eligible func() error
	// boot is where the boot's document lies.
	boot string
}

// selfOf asks for a quote.
func selfOf(ctx context.Context, inner *routerProcess, eligible func() error) (*self, error) {
	out := &self{eligible: eligible, boot: boot.StatusPath}
	if inner == nil || inner.quoter == nil {
		return out, nil
	}
	out.simulated = inner.cfg.Simulated != nil
	ctx, cancel := context.WithTimeout(ctx, ownQuote)
	defer cancel()
	var data [tdx.ReportDataSize]byte
	if _, err := rand.Read(data[:]); err != nil {
		return nil, fmt.Errorf("quoting for the status page: %w", err)
	}
	raw, err := inner.quoter.Quote(ctx, data)
	if err != nil {
		return nil, fmt.Errorf("quoting for the status page: %w", err)
	}
	quote, err := tdx.ParseQuote(raw)
	if err != nil || quote.TD == nil {
		return nil, fmt.Errorf("quoting for the status page: no quote of a TD: %w", err)
	}
	image, err := tdx.PublishableHash(&quote.TD.Measurements)
	if err != nil {
		return nil, fmt.Errorf("quoting for the status page: %w", err)
	}
	out.image, out.measurements = image.String(), &quote.TD.Measurements
	return out, nil
}

// page adds the machine to a role's page.
func (s *self) page(p stats.Page) stats.Page {
	image := stats.Fact{Name: "Image", Value: stats.Hash(s.image), Full: s.image, Mono: true}
	listed := stats.Fact{Name: "Listed"}
	switch {
	case s.image == "":
		image = stats.Fact{Name: "Image", Value: "no evidence in this process", Health: stats.Degraded}
	case s.eligible == nil:
		listed.Value = "no root is followed"
	case s.eligible() == nil:
		listed.Value, listed.Health = "in the root contract", stats.Good
	default:
		listed.Value, listed.Health = "not eligible", stats.Bad
	}
	p.Identity = append([]stats.Fact{image, listed}, p.Identity...)
	if s.simulated {
		p.Notice = strings.TrimSpace("SIMULATED TDX: nothing here is protected from anybody. " + p.Notice)
	}
	if t, ok := s.bootTable(); ok {
		p.Tables = append(p.Tables, t)
	}
	if m := s.measurements; m != nil {
		t := stats.Table{Title: "Measurements", Columns: []string{"Register", "Value"}}
		row := func(name string, v tdx.Digest) {
			t.Rows = append(t.Rows, []stats.Cell{{Text: name}, {Text: hex.EncodeToString(v[:]), Mono: true, Full: hex.EncodeToString(v[:])}})
		}
		row("MRTD", m.MRTD)
		for i, v := range m.RTMR {
			row(fmt.Sprintf("RTMR%d", i), v)
		}
		p.Tables = append(p.Tables, t)
	}
	return p
}

// json adds the machine to a role's /jsonstats.
func (s *self) json(doc map[string]any) map[string]any {
	if status, ok := doc["status"].(map[string]any); ok && s.image != "" {
		status["actual_image_hash"] = s.image
	}
	return doc
}

// bootTable is how the machine came up, where this process is in a guest.
func (s *self) bootTable() (stats.Table, bool) {
	t := stats.Table{Title: "Boot", Columns: []string{"Stage", "Result", "Took", "Why"}}
	f, err := os.Open(s.boot)
	if err != nil {
		return t, false
	}
	defer f.Close() //nolint:errcheck // read side
	var doc boot.Document
	if json.NewDecoder(io.LimitReader(f, maxBoot)).Decode(&doc) != nil {
		return t, false
	}
	for _, stage := range doc.Stages {
		result, why := stats.Cell{Text: string(stage.Status)}, stage.Reason
		switch stage.Status {
		case boot.OK:
			result.Health = stats.Good
		case boot.Failed:
			result.Health, why = stats.Bad, stage.Error
		case boot.Skipped:
		}
		t.Rows = append(t.Rows, []stats.Cell{
			{Text: stage.Stage}, result, {Text: stats.Milliseconds(time.Duration(stage.DurationMS) * time.Millisecond), Right: true}, {Text: why},
		})
	}
	return t, len(t.Rows) > 0
}
