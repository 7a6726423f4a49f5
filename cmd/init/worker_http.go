package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"cocoon/contracts/api/stats"
	"cocoon/guest/worker"
)

// coefficientFile keeps a changed price over a restart.
const coefficientFile = "coefficient"

// workerPages are the worker's.
func workerPages(w *worker.Worker, machine *self, cfg *workerConfig, log *slog.Logger) *rolePages {
	return &rolePages{
		views: stats.Views{
			Page: func() stats.Page { return machine.page(w.Page()) }, JSON: func() any { return machine.json(w.JSONStats()) },
			Metrics: w.WriteMetrics, Ready: w.Readiness,
		},
		orders: map[string]order{
			"enable":  func(func(string) string) error { w.SetEnabled(true); return nil },
			"disable": func(func(string) string) error { w.SetEnabled(false); return nil },
			"change_coefficient": func(parameter func(string) string) error {
				return changeCoefficient(w, parameter("coefficient"), cfg.StateDir)
			},
		},
		access: cfg.Access, log: log,
	}
}

// changeCoefficient sets the price, and keeps it where there is a folder for that.
func changeCoefficient(w *worker.Worker, text, stateDir string) error {
	c, err := worker.ParseCoefficient(text)
	if err != nil {
		return err
	}
	if stateDir != "" {
		name := filepath.Join(stateDir, coefficientFile)
		err := os.WriteFile(name+".new", strconv.AppendInt(nil, int64(c), 10), 0o600)
		if err == nil {
			err = os.Rename(name+".new", name)
		}
		if err != nil {
			return fmt.Errorf("keeping the coefficient: %w", err)
		}
	}
	return w.SetCoefficient(c)
}
