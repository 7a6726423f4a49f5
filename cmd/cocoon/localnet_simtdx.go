package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/host/localnet/simtdx"
	"cocoon/measure/simtd"
)

// simTDXResult says what runs and where. It is printed when the listeners are open, and before them in a dry run.
type simTDXResult struct {
	Schema string `json:"schema"`
	simtdx.Description
}

// Text implements cli.Document: the banner, then what machines and people need.
func (r simTDXResult) Text(w io.Writer) error {
	if err := r.Banner(w); err != nil {
		return err
	}
	rows := [][]string{{"root id", r.RootID.String()}, {"FMSPC", r.FMSPC.String()}, {"MRTD", r.MRTD.String()}}
	if r.Shape == "" {
		rows = append(rows, []string{"measured", "nothing: the registers are made up, give --prediction"})
	} else {
		rows = append(rows, []string{"measured", "as predicted for shape " + r.Shape})
	}
	if r.ImageHash != nil {
		rows = append(rows, []string{"image hash", r.ImageHash.String()})
	}
	if len(r.Faults) > 0 {
		rows = append(rows, []string{"faults", strings.Join(r.Faults, " ")})
	}
	rows = append(rows, []string{"guest", strings.Join(r.Guests, " ")})
	if r.PCS != "" {
		rows = append(rows, []string{"collateral", r.PCS + ", expires " + r.CollateralExpires.Format(time.RFC3339)})
	}
	return cli.Table(w, rows)
}

// simTDXFlags are the verb's flags as they were typed.
type simTDXFlags struct {
	seed, prediction, shape, pcs, at, write string
	machine                                 uint32
	guests, faults                          []string
}

func newLocalnetSimTDXCmd(a *app) *cobra.Command {
	var s simTDXFlags
	cmd := &cobra.Command{
		Use:   "simtdx",
		Short: "Run the simulated TDX platform of one machine",
		Long: "Run the simulated TDX platform of one machine: a TDX module and a quoting enclave that its\n" +
			"guest reaches over --guest, and the provisioning service of the platform over --pcs.\n\n" +
			"Everything follows from --seed, which is why it is asked for: platforms of one seed have one\n" +
			"root, and the same command gives the same quotes. Only a test image, or a local network whose\n" +
			"configuration names the root id, accepts them.\n\n" +
			"Addresses: unix:PATH, tcp:HOST:PORT, vsock:CID:PORT, port:PATH (a character device, or the\n" +
			"socket of a QEMU serial port). Faults: see --fault list.",
		Example: "  cocoon localnet simtdx --seed $(openssl rand -hex 32) --guest unix:/tmp/td.sock \\\n" +
			"    --pcs 127.0.0.1:8081\n" +
			"  measure predict -o json out/proxy > p.json\n" +
			"  cocoon localnet simtdx --seed $SEED --prediction p.json --guest port:/tmp/vm/simtd -o json",
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(s.faults) == 1 && s.faults[0] == "list" {
				return a.printer.Result(newFaultList())
			}
			return a.simTDX(cmd.Context(), &s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.seed, "seed", "", "64 hexadecimal digits that every key follows from")
	f.Uint32Var(&s.machine, "machine", 0, "number of the machine among those of the seed")
	f.StringVar(&s.prediction, "prediction", "", "what the machine measures: output of measure predict -o json")
	f.StringVar(&s.shape, "shape", "", "shape of the machine, if the prediction has several")
	f.StringSliceVar(&s.guests, "guest", nil, "address to serve the guest at; may be repeated")
	f.StringVar(&s.pcs, "pcs", "", "HOST:PORT to serve collateral at; port 0 takes a free one")
	f.StringVar(&s.at, "at", "", "time the collateral is for, RFC 3339 (default: now)")
	f.StringSliceVar(&s.faults, "fault", nil, "something to be wrong, by name; may be repeated, list lists them")
	f.StringVar(&s.write, "write", "", "folder to write root.pem and collateral.json into")
	return cmd
}

// config is what the flags say.
func (s *simTDXFlags) config(a *app) (simtdx.Config, error) {
	c := simtdx.Config{Machine: s.machine, Now: a.now(), Faults: s.faults, PCS: s.pcs, Log: simTDXLog(a)}
	var err error
	if s.seed == "" {
		return c, cli.Tag(cli.KindUsage, errors.New("--seed is missing"), "make one with \"openssl rand -hex 32\"")
	}
	if c.Seed, err = simtdx.ParseSeed(s.seed); err != nil {
		return c, cli.Usagef("--seed: %w", err)
	}
	if s.at != "" {
		if c.Now, err = time.Parse(time.RFC3339, s.at); err != nil {
			return c, cli.Usagef("--at: %w", err)
		}
	}
	for _, text := range s.guests {
		address, err := simtd.ParseAddress(text)
		if err != nil {
			return c, cli.Usagef("--guest: %w", err)
		}
		c.Guests = append(c.Guests, address)
	}
	if s.prediction != "" {
		if c.Prediction, err = s.readPrediction(); err != nil {
			return c, err
		}
	}
	if err := c.Validate(); err != nil {
		return c, cli.Tag(cli.KindUsage, err, "run \"cocoon localnet simtdx --help\"")
	}
	return c, nil
}

func (s *simTDXFlags) readPrediction() (*simtdx.Prediction, error) {
	f, err := os.Open(s.prediction)
	if err != nil {
		return nil, fmt.Errorf("opening prediction: %w", cli.Misnamed(s.prediction, err))
	}
	defer func() { _ = f.Close() }()
	p, err := simtdx.ReadPrediction(f, s.shape)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("--prediction %s: %w", s.prediction, err), "choose a machine with --shape NAME")
	}
	return p, nil
}

// simTDX runs until the command is interrupted, which is its normal end.
func (a *app) simTDX(ctx context.Context, s *simTDXFlags) error {
	c, err := s.config(a)
	if err != nil {
		return err
	}
	if a.dryRun {
		d, err := simtdx.Describe(c)
		if err != nil {
			return err
		}
		return a.printer.Result(simTDXResult{"cocoon.localnet.simtdx/1", d})
	}
	service, err := simtdx.New(ctx, c)
	if err != nil {
		return cli.Tag(cli.KindPrerequisite, err, "name another address with --guest ADDRESS or --pcs HOST:PORT")
	}
	d := service.Description()
	if err := a.announce(d, s.write); err != nil {
		return errors.Join(err, service.Close())
	}
	return service.Run(ctx)
}

// announce writes the files and prints what runs. In JSON the banner goes to stderr, where people see it.
func (a *app) announce(d simtdx.Description, dir string) error {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making folder: %w", err)
		}
		for name, data := range map[string][]byte{"root.pem": []byte(d.Root), "collateral.json": d.Bundle.Encode()} {
			if err := renameio.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				return fmt.Errorf("writing %s: %w", name, err)
			}
		}
	}
	if a.format != cli.Text && !a.quiet {
		if err := d.Banner(a.stderr); err != nil {
			return err
		}
	}
	return a.printer.Result(simTDXResult{"cocoon.localnet.simtdx/1", d})
}

// simTDXLog writes what happens to the sessions to stderr.
func simTDXLog(a *app) *slog.Logger {
	if a.quiet {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(a.stderr, nil))
}

// faultList is the result of --fault list.
type faultList struct {
	Schema string       `json:"schema"`
	Faults []faultEntry `json:"faults"`
}

type faultEntry struct {
	Name   string `json:"name"`
	Effect string `json:"effect"`
}

func newFaultList() faultList {
	out := faultList{Schema: "cocoon.localnet.simtdx.faults/1"}
	for _, f := range simtdx.FaultNames() {
		out.Faults = append(out.Faults, faultEntry{f[0], f[1]})
	}
	return out
}

// Text implements cli.Document.
func (l faultList) Text(w io.Writer) error {
	rows := make([][]string, 0, len(l.Faults)+1)
	rows = append(rows, []string{"fault", "what comes of it"})
	for _, f := range l.Faults {
		rows = append(rows, []string{f.Name, f.Effect})
	}
	return cli.Table(w, rows)
}
