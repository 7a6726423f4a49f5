package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// maxMetrics bounds a page of metrics; vLLM's has about 100 kB.
const maxMetrics = 4 << 20

// Load is how busy an engine is. Running and Waiting count requests, KVUse is a share from 0 to 1; a number that the
// engine does not have is negative.
type Load struct{ Running, Waiting, KVUse float64 }

// Load samples the engine's metrics.
func (a *Adapter) Load(ctx context.Context) (Load, error) {
	m := a.cfg.Metrics
	if m.Path == "" {
		return Load{-1, -1, -1}, errors.New("sampling load: engine.toml names no metrics")
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout())
	defer cancel()
	page, err := a.get(ctx, m.Path, http.StatusOK, maxMetrics)
	if err != nil {
		return Load{-1, -1, -1}, fmt.Errorf("sampling load: %w", err)
	}
	return m.read(page), nil
}

func (m Metrics) read(page []byte) Load {
	return Load{Running: sum(page, m.Running), Waiting: sum(page, m.Waiting), KVUse: sum(page, m.KVUse)}
}

// sum adds a metric over its label sets; the first of the alternative names that occurs counts.
func sum(page []byte, names string) float64 {
	for name := range strings.SplitSeq(names, "|") {
		if total, ok := one(page, name); ok && name != "" {
			return total
		}
	}
	return -1
}

func one(page []byte, name string) (total float64, found bool) {
	for line := range bytes.Lines(page) {
		rest, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte(name))
		if !ok || len(rest) == 0 {
			continue
		}
		switch rest[0] {
		case '{':
			end := bytes.LastIndexByte(rest, '}')
			if end < 0 {
				continue
			}
			rest = rest[end+1:]
		case ' ', '\t':
		default: // a longer name
			continue
		}
		words := bytes.Fields(rest)
		if len(words) == 0 {
			continue
		}
		v, err := strconv.ParseFloat(string(words[0]), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			continue
		}
		total, found = total+v, true
	}
	return total, found
}
