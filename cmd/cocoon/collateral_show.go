package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/host/collateral"
	"cocoon/measure/dcap"
	"cocoon/measure/ratls/pcs/sources"
)

// collateralShowResult describes bundles.
type collateralShowResult struct {
	Schema  string            `json:"schema"`
	Time    string            `json:"time"`
	OK      bool              `json:"ok"`
	Bundles []describedBundle `json:"bundles"`

	now time.Time
}

// describedBundle is one file.
type describedBundle struct {
	File string `json:"file"`
	*collateral.Description
}

// Text implements cli.Document: a block per bundle.
func (r collateralShowResult) Text(w io.Writer) error {
	for i, b := range r.Bundles {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		for i, table := range b.tables(r.now) {
			if i > 0 {
				table = append([][]string{{}}, table...)
			}
			if err := cli.Table(w, table); err != nil {
				return err
			}
		}
	}
	return nil
}

// tables are what is shown of a bundle: what it is, its parts, its levels.
func (b *describedBundle) tables(now time.Time) [][][]string {
	if !b.Genuine {
		return [][][]string{{{"file", b.File}, {"verdict", "NOT GENUINE (" + b.Class + "): " + b.Error}}}
	}
	verdict := "genuine, valid, expires " + b.Expires + " (" + remaining(b.ExpiresAt().Sub(now)) + ")"
	if !b.Valid {
		verdict = "genuine, NOT VALID NOW: " + b.Error
	}
	root := "Intel SGX Root CA"
	if !b.IntelRoot {
		root = "NOT INTEL'S: " + b.Root
	}
	return [][][]string{
		{
			{"file", b.File},
			{"verdict", verdict},
			{"platform", b.TEE + ", FMSPC " + b.FMSPC + ", PCEID " + b.PCEID + ", CA " + b.CA},
			{"root", root},
			{"evaluation", fmt.Sprint(b.EvaluationNumber)},
			{"generation", b.Generation},
		},
		b.partRows(now), b.levelRows(),
	}
}

func (b *describedBundle) partRows(now time.Time) [][]string {
	rows := make([][]string, 0, len(b.Parts)+1)
	rows = append(rows, []string{"part", "issued", "expires", "", "signer"})
	for _, p := range b.Parts {
		left := ""
		if at, err := time.Parse(time.RFC3339, p.Expires); err == nil {
			left = remaining(at.Sub(now))
		}
		signer := p.Signer
		if p.Revoked != nil {
			signer += fmt.Sprintf(", %d revoked", *p.Revoked)
		}
		rows = append(rows, []string{p.Kind, p.Issued, p.Expires, left, signer})
	}
	return rows
}

func (b *describedBundle) levelRows() [][]string {
	rows := [][]string{{"level", "status", "since", "needs", "advisories"}}
	add := func(of string, levels []collateral.Level) {
		for _, l := range levels {
			date, _, _ := strings.Cut(l.Date, "T")
			rows = append(rows, []string{of, l.Status, date, l.Needs(), few(l.Advisories)})
		}
	}
	add("platform", b.Levels)
	for _, m := range b.Modules {
		add(m.ID, m.Levels)
	}
	add("enclave", b.Enclave)
	return rows
}

// maxAdvisories is how many ids fit a line; the JSON form has all.
const maxAdvisories = 3

func few(ids []string) string {
	if len(ids) <= maxAdvisories {
		return strings.Join(ids, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(ids[:maxAdvisories], " "), len(ids)-maxAdvisories)
}

func newCollateralShowCmd(a *app) *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "show FILE|DIR",
		Short: "Print what is in a bundle: validity, levels, signers; exit 3 unless genuine and valid",
		Long: "FILE is a bundle; DIR is a folder of them, such as the store of `cocoon collateral\n" +
			"serve`. Everything shown was verified first, as of the time when it was issued.",
		Example: "  cocoon collateral show tdx-90C06F000000-platform.json\n  cocoon collateral show ~/.local/state/cocoon/collateral -o json",
		Args:    args(1, 1, "FILE|DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			roots, err := trustedRoots(root)
			if err != nil {
				return err
			}
			out, err := showCollateral(args[0], roots, a.now())
			if err != nil {
				return err
			}
			if err := a.printer.Result(out); err != nil || out.OK {
				return err
			}
			return cli.Shown(cli.KindDifference, errNotValid, "fetch collateral anew: cocoon collateral fetch")
		},
	}
	addRootFlag(cmd.Flags(), &root)
	return cmd
}

func showCollateral(path string, roots *dcap.Roots, now time.Time) (collateralShowResult, error) {
	out := collateralShowResult{Schema: "cocoon.collateral.show/1", Time: utc(now), Bundles: []describedBundle{}, now: now}
	files, err := sources.BundleFiles(path)
	if err != nil {
		return out, fmt.Errorf("reading collateral: %w", err)
	}
	for _, name := range files {
		d, err := collateral.DescribeFile(name, roots, now)
		if err != nil {
			return out, err
		}
		out.Bundles = append(out.Bundles, describedBundle{name, d})
	}
	out.OK = !slices.ContainsFunc(out.Bundles, func(b describedBundle) bool { return !b.Valid })
	return out, nil
}
