package main

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"flag"
	"fmt"
	"time"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// maxPolicy bounds a policy file, maxRoot a root certificate's.
const (
	maxPolicy = 1 << 20
	maxRoot   = 64 << 10
)

// trustFlags are what a verdict about a quote stands on.
type trustFlags struct {
	collateral, policy, at, root, reportData string
	images                                   []string
}

// register adds the flags to a verb.
func (f *trustFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.collateral, "collateral", "", "collateral bundle `file` to verify the quote with; asks for a verdict")
	fs.StringVar(&f.policy, "policy", "", "policy `file` to judge by (default: the safe defaults, any image)")
	fs.StringVar(&f.at, "at", "", "judge at this `time`, RFC 3339 or a date (default: now)")
	fs.StringVar(&f.root, "root", "", "trust this root certificate `file` instead of Intel's: simulated platforms only")
	fs.StringVar(&f.reportData, "report-data", "", "report data the quote must have, 128 hex `digits`")
	fs.Func("image", "accept only this image `hash` (MRENCLAVE for enclaves); may be repeated; not with --policy", func(s string) error {
		f.images = append(f.images, s)
		return nil
	})
}

// trust is what the flags stand for.
type trust struct {
	now   time.Time
	roots *dcap.Roots
	// simulated is the root that --root names; nil for Intel's.
	simulated *dcap.RootID
	// bundle is the collateral's bytes, of the file that --collateral names; nil when no verdict is asked for.
	bundle     []byte
	collateral string
	// policy is that of --policy; nil for the defaults with images.
	policy     *policy.Policy
	images     [][32]byte
	reportData *[tdx.ReportDataSize]byte
}

// noteSimulated is what can be said of a platform below another root than Intel's.
const noteSimulated = "; a SIMULATED platform, which proves nothing about hardware"

// noted adds to a note what the root takes away from it.
func (t *trust) noted(note string) string {
	if t.simulated != nil {
		return note + noteSimulated
	}
	return note
}

// judges reports that a verdict is asked for.
func (t *trust) judges() bool { return t.bundle != nil }

// load reads the files that the flags name.
func (f *trustFlags) load(e *env) (*trust, error) {
	t := &trust{now: e.now().UTC(), roots: dcap.IntelRoots()}
	if f.collateral == "" && (f.policy != "" || len(f.images) > 0 || f.reportData != "") {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("a verdict needs --collateral"),
			"measure quote FILE names the collateral to ask for")
	}
	if f.policy != "" && len(f.images) > 0 {
		return nil, cli.Usagef("--image and --policy both say what is accepted; choose one")
	}
	for _, read := range []func(*trust) error{f.loadTime, f.loadRoot, f.loadBundle, f.loadPolicy, f.loadImages, f.loadReportData} {
		if err := read(t); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (f *trustFlags) loadTime(t *trust) error {
	if f.at == "" {
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, f.at); err == nil {
			t.now = at.UTC()
			return nil
		}
	}
	return cli.Usagef("--at %q is neither a time like 2026-01-31T12:00:00Z nor a date like 2026-01-31", f.at)
}

func (f *trustFlags) loadRoot(t *trust) error {
	if f.root == "" {
		return nil
	}
	data, err := cli.ReadFile(f.root, maxRoot)
	if err != nil {
		return err
	}
	if block, _ := pem.Decode(data); block != nil {
		data = block.Bytes
	}
	c, err := x509.ParseCertificate(data)
	if err != nil {
		return cli.Tag(cli.KindUsage, fmt.Errorf("reading root %s: %w", f.root, err))
	}
	id, err := dcap.RootIDOf(c)
	if err == nil {
		t.roots, err = dcap.NewRoots(c)
	}
	if err != nil {
		return cli.Tag(cli.KindUsage, fmt.Errorf("reading root %s: %w", f.root, err))
	}
	if id != dcap.IntelRootID() {
		t.simulated = &id
	}
	return nil
}

func (f *trustFlags) loadBundle(t *trust) (err error) {
	if f.collateral != "" {
		t.collateral = f.collateral
		t.bundle, err = cli.ReadFile(f.collateral, dcap.MaxBundle)
	}
	return err
}

func (f *trustFlags) loadPolicy(t *trust) error {
	if f.policy == "" {
		return nil
	}
	data, err := cli.ReadFile(f.policy, maxPolicy)
	if err != nil {
		return err
	}
	if t.policy, err = policy.Parse(data); err != nil {
		return cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", f.policy, err))
	}
	if typ := t.policy.Type(); typ != policy.TDX && typ != policy.SGX {
		return cli.Usagef("%s: a policy of type %s judges no quote", f.policy, typ)
	}
	return nil
}

func (f *trustFlags) loadImages(t *trust) error {
	for _, text := range f.images {
		var image tdx.Hash
		if err := image.UnmarshalText([]byte(text)); err != nil {
			return cli.Tag(cli.KindUsage, fmt.Errorf("reading --image: %w", err))
		}
		t.images = append(t.images, image)
	}
	return nil
}

func (f *trustFlags) loadReportData(t *trust) error {
	if f.reportData == "" {
		return nil
	}
	raw, err := hex.DecodeString(f.reportData)
	if err != nil || len(raw) != tdx.ReportDataSize {
		return cli.Usagef("--report-data is not %d hex digits", 2*tdx.ReportDataSize)
	}
	t.reportData = (*[tdx.ReportDataSize]byte)(raw)
	return nil
}
