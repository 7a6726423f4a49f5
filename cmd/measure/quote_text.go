package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// Text prints the quote from what was read to what it is worth, which comes last.
func (d *quoteDoc) Text(w io.Writer) error {
	rows := slices.Concat(d.readRows(), d.platformRows(), d.collateralRows(), [][]string{{"judged at", d.At}})
	switch {
	case d.Signature == nil:
	case d.Signature.OK:
		rows = append(rows, []string{"signatures", "verify, up to the trusted root"})
	default:
		rows = append(rows, []string{"signatures", "do not verify: " + d.Signature.Reason})
	}
	if d.Verdict == nil {
		return cli.Table(w, append(rows, []string{"note", d.Note}))
	}
	if err := cli.Table(w, append(rows, verdictRow(d.Verdict), []string{"note", d.Note}, []string{})); err != nil {
		return err
	}
	return findingsText(w, d.Verdict)
}

// readRows are the quote's kind, its fields and its image hash.
func (d *quoteDoc) readRows() [][]string {
	rows := make([][]string, 0, 2*len(d.Fields)+8)
	if d.TEE != "" {
		rows = append(rows, []string{"quote", fmt.Sprintf("%s, version %d, %d bytes, %d unsigned bytes behind it", d.TEE, d.Version, d.Size, d.Trailing)})
	}
	if c := d.Certificate; c != nil {
		rows = append(rows, []string{"certificate", fmt.Sprintf("profile %s, key %s", c.Profile, c.Key)}, []string{"", c.NotBefore + " to " + c.NotAfter})
	}
	for _, f := range d.Fields {
		rows = append(rows, []string{f.Name, f.Value})
		if f.Meaning != "" {
			rows = append(rows, []string{"", f.Meaning})
		}
	}
	if d.ImageHash != nil {
		rows = append(rows, []string{"image hash", d.ImageHash.String()}, []string{"", d.Base64})
	}
	if len(rows) > 0 {
		rows = append(rows, []string{})
	}
	return rows
}

// platformRows say where the quote was made and, until it is verified, which collateral to ask for.
func (d *quoteDoc) platformRows() [][]string {
	if d.Platform == nil {
		return nil
	}
	p := d.Platform
	rows := [][]string{{"platform", fmt.Sprintf("FMSPC %s, PCEID %s, certified by the %s CA", p.FMSPC, p.PCEID, p.CA)}}
	if v := d.Verdict; v != nil {
		if v.Platform != nil {
			rows = append(rows, statusRows(v.Platform)...)
		}
		return append(rows, []string{})
	}
	label := "collateral"
	for _, path := range p.Collateral {
		rows = append(rows, []string{label, path})
		label = ""
	}
	return append(rows, []string{})
}

// statusRows are what the collateral says of the platform.
func statusRows(p *policy.PlatformDocument) [][]string {
	parts := []string{"platform " + p.PlatformStatus}
	if p.ModuleStatus != "" {
		parts = append(parts, "TDX module "+p.ModuleStatus)
	}
	parts = append(parts, "quoting enclave "+p.QEStatus)
	rows := [][]string{{"ppid", p.PPID}}
	if p.PIID != "" {
		rows = append(rows, []string{"piid", p.PIID})
	}
	rows = append(rows, []string{"status", p.Status + ": " + strings.Join(parts, ", ")})
	if p.TCBDate != "" {
		rows = append(rows, []string{"level", "of " + p.TCBDate + ", the newest of " + p.NewestTCBDate})
	}
	if len(p.Advisories) > 0 {
		rows = append(rows, []string{"advisories", strings.Join(p.Advisories, " ")})
	}
	return rows
}

func (d *quoteDoc) collateralRows() [][]string {
	if d.Collateral == nil {
		return nil
	}
	c := d.Collateral
	rows := [][]string{
		{"collateral", fmt.Sprintf("%s, evaluation number %d", c.Platform, c.EvaluationNumber)},
		{"root", c.Root},
		{"generation", c.Generation},
	}
	for _, p := range c.Parts {
		rows = append(rows, []string{p.Kind, p.From + " to " + p.To})
	}
	return append(rows, []string{})
}

func verdictRow(v *policy.Document) []string {
	outcome := "accepted"
	if !v.OK {
		outcome = "refused: " + string(v.Code)
	}
	return []string{"verdict", outcome + ", by a policy of type " + string(v.Type)}
}

// findingsText prints one line a rule, and below a rule that failed what it wanted.
func findingsText(w io.Writer, v *policy.Document) error {
	rows, skipped := make([][]string, 0, len(v.Findings)+3), []string{}
	for _, f := range v.Findings {
		if f.Result == "skip" {
			skipped = append(skipped, f.Rule)
			continue
		}
		got := f.Got
		if f.Result == "pass" {
			got = shortened(got)
		}
		rows = append(rows, []string{strings.ToUpper(f.Result), f.Rule, got})
		if f.Result == "fail" {
			rows = append(rows, []string{"", "", "want " + f.Want})
		}
	}
	if len(skipped) > 0 {
		rows = append(rows, []string{"SKIP", fmt.Sprintf("%d rules", len(skipped)), "had nothing to judge: " + strings.Join(skipped, " ")})
	}
	return cli.Table(w, rows)
}

// shortened cuts registers, which stand above in full.
func shortened(text string) string {
	const shown = 16
	words := strings.Fields(text)
	for i, word := range words {
		if len(word) == 2*tdx.DigestSize {
			words[i] = word[:shown] + "..."
		}
	}
	return strings.Join(words, " ")
}
