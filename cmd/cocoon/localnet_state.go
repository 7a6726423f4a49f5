package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/host/localnet/network"
)

const (
	// endTime bounds how long `localnet down` waits; every role may take a quarter of it.
	endTime = time.Minute
	// askTime bounds a question to a role's page.
	askTime = 5 * time.Second
	// maxReason bounds what a role says of itself.
	maxReason = 4 << 10
)

// localnetDir is the folder that was named, or the user's own.
func (a *app) localnetDir(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	return a.stateDir("localnet", "--dir DIR")
}

// findNetwork is the network that runs in a folder.
func (a *app) findNetwork(named string) (*network.State, string, error) {
	dir, err := a.localnetDir(named)
	if err != nil {
		return nil, "", err
	}
	s, err := network.Find(dir)
	if errors.Is(err, network.ErrNotRunning) {
		err = cli.Tag(cli.KindPrerequisite, err, "start one with \"cocoon localnet up\"", "a network of another folder is named by --dir DIR")
	} else if err != nil {
		err = fmt.Errorf("looking for a network: %w", cli.Misnamed(dir, err))
	}
	return s, dir, err
}

func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "", "folder of the network (default: in the user's state folder)")
}

// downResult says what has ended.
type downResult struct {
	Schema string `json:"schema"`
	Dir    string `json:"dir"`
	PID    int    `json:"pid"`
	Took   int64  `json:"took_ms"`
}

// Text implements cli.Document.
func (r downResult) Text(w io.Writer) error {
	_, err := fmt.Fprintf(w, "ended, after %d ms; configurations, logs and receipts are left in %s\n", r.Took, r.Dir)
	return err
}

func newLocalnetDownCmd(a *app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "down",
		Short:   "End a network that runs on this machine, in order",
		Example: "  cocoon localnet down",
		Args:    args(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.localnetDown(cmd.Context(), dir) },
	}
	dirFlag(cmd, &dir)
	return cmd
}

func (a *app) localnetDown(ctx context.Context, named string) error {
	s, dir, err := a.findNetwork(named)
	if err != nil {
		return err
	}
	out := downResult{Schema: "cocoon.localnet.down/1", Dir: dir, PID: s.PID}
	if a.dryRun {
		return a.printer.Result(out)
	}
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	began := a.now()
	if _, err := network.End(ctx, dir); err != nil && !errors.Is(err, network.ErrNotRunning) { // or it ended by itself
		return cli.Tag(cli.KindTimeout, err, fmt.Sprintf("end it by force with \"kill -9 %d\": its children end with it", s.PID))
	}
	out.Took = a.now().Sub(began).Milliseconds()
	return a.printer.Result(out)
}

// statusResult says how a network does.
type statusResult struct {
	Schema string `json:"schema"`
	network.State
	Parts []partStatus `json:"parts"`
}

// partStatus is what one part says of itself.
type partStatus struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason"`
	Page   string `json:"page"`
	Log    string `json:"log"`
}

// Text implements cli.Document.
func (r statusResult) Text(w io.Writer) error {
	if err := cli.Table(w, [][]string{
		{"base URL", r.About.URL + "/v1"},
		{"model", r.About.Model + " (" + r.About.Engine + ")"},
		{"process", fmt.Sprintf("%d, since %s", r.PID, r.Started.Format(time.DateTime))},
		{"folder", r.About.Dir},
	}); err != nil {
		return err
	}
	rows := [][]string{{"", "", "", ""}}
	for _, p := range r.Parts {
		state := "ready"
		if !p.Ready {
			state = "NOT READY: " + p.Reason
		}
		rows = append(rows, []string{p.Name, state, p.Page})
	}
	return cli.Table(w, rows)
}

func newLocalnetStatusCmd(a *app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what runs of a network on this machine, and how it does",
		Long: "Show what runs of a network on this machine, and how it does: each part is asked whether it can\n" +
			"serve. The exit code is 3 when one cannot.",
		Example: "  cocoon localnet status\n  cocoon localnet status -o json | jq '.parts[] | select(.ready | not)'",
		Args:    args(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.localnetStatus(cmd.Context(), dir) },
	}
	dirFlag(cmd, &dir)
	return cmd
}

func (a *app) localnetStatus(ctx context.Context, named string) error {
	s, dir, err := a.findNetwork(named)
	if err != nil {
		return err
	}
	out := statusResult{Schema: "cocoon.localnet.status/1", State: *s}
	ask := func(name, page, log string) {
		p := partStatus{Name: name, Page: page, Log: log}
		p.Ready, p.Reason = readiness(ctx, strings.TrimSuffix(page, "/stats")+"/readyz")
		out.Parts = append(out.Parts, p)
	}
	ask("gateway", s.About.Page, gatewayLog(dir))
	for _, r := range s.About.Roles {
		ask(r.Name, r.Page, r.Log)
	}
	if err := a.printer.Result(out); err != nil {
		return err
	}
	for _, p := range out.Parts {
		if !p.Ready {
			return cli.Shown(cli.KindDifference, fmt.Errorf("%s is not ready: %s", p.Name, p.Reason), "see \"cocoon localnet logs "+p.Name+"\"")
		}
	}
	return nil
}

// readiness asks a part whether it can serve; the reason is its own words.
func readiness(ctx context.Context, url string) (ready bool, reason string) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false, err.Error()
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // one question; no proxy of the environment
	resp, err := client.Do(r)
	if err != nil {
		return false, err.Error()
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxReason))
	if err != nil {
		return false, err.Error()
	}
	return resp.StatusCode == http.StatusOK, strings.TrimSpace(string(said))
}
