package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"cocoon/measure/strictjson"
)

// checkTable refuses a table that could not finish: a name twice, a need that is not there or comes later.
func checkTable(steps []step) error {
	var errs []error
	seen := make(map[string]bool, len(steps))
	for _, s := range steps {
		if seen[s.Name] {
			errs = append(errs, fmt.Errorf("step %q is in the table twice", s.Name))
		}
		for _, n := range s.Needs {
			if !seen[n] {
				errs = append(errs, fmt.Errorf("step %q needs %q, which is not before it in the table", s.Name, n))
			}
		}
		seen[s.Name] = true
	}
	return errors.Join(errs...)
}

func runUncached(ctx context.Context, s *step, w *work) (*Result, error) {
	if err := s.Run(ctx, w); err != nil {
		return nil, err
	}
	r := &Result{Step: s.Name, Inputs: s.Inputs, Detail: w.Detail}
	if w.Facts != nil {
		facts, err := strictjson.Canonical(w.Facts)
		if err != nil {
			return nil, fmt.Errorf("keeping facts of step %q: %w", s.Name, err)
		}
		r.Facts = json.RawMessage(facts)
	}
	return r, nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
