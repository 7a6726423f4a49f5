package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// TestCheckJoinsMeasurementsAndVerdict: registers, signatures and policy all have to hold, and the document tells which
// does not.
func TestCheckJoinsMeasurementsAndVerdict(t *testing.T) {
	t.Parallel()
	e := newEvidence(t)
	p := e.platform
	with := func(change func(*tdx.Body)) string {
		return p.with(t, measuretest.Spec{TD: func(b *tdx.Body) { b.Measurements = *e.measurements(); change(b) }})
	}
	trusted := []string{"--root", p.root, "--collateral", p.bundle}
	for name, tc := range map[string]struct {
		quote string
		flags []string
		code  int
		// verdict is empty when none is asked for.
		verdict policy.Code
		words   []string
	}{
		"accepted":             {e.quote, trusted, 0, "ok", []string{"RTMR3  equal", "accepted", "PASS", "a SIMULATED platform"}},
		"without collateral":   {e.quote, trusted[:2], 0, "", []string{"signatures verify", "these fields are a claim"}},
		"without the root":     {e.quote, trusted[2:], 3, "root", []string{"RTMR0  equal", "refused: root"}},
		"unsigned":             {e.quote, nil, 3, "", []string{"RTMR0  equal", "signatures do not verify", "--root FILE"}},
		"debug":                {with(func(b *tdx.Body) { b.TDAttributes[0] = 1 }), trusted, 3, "td_debug", []string{"RTMR0  equal", "refused: td_debug", "0x1 (DEBUG)"}},
		"other run time":       {with(func(b *tdx.Body) { b.RTMR[3][0] ^= 1 }), trusted, 3, "ok", []string{"RTMR3  differs", "accepted", "is not that of image worker-cpu"}},
		"both wrong":           {with(func(b *tdx.Body) { b.RTMR[0][0] ^= 1; b.TDAttributes[0] = 1 }), trusted, 3, "td_debug", []string{"RTMR0  differs", "refused: td_debug", "is not that of image"}},
		"another image listed": {e.quote, append(trusted, "--image", strings.Repeat("1", 64)), 3, "image", []string{"RTMR0  equal", "refused: image"}},
		"expired":              {e.quote, append(trusted, "--at", "2027-01-01"), 3, "collateral_expired", []string{"--at TIME"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"check", "--quote", tc.quote, "--manifest", e.image, "--spec", e.spec}, tc.flags...)
			measure(t, args...).want(t, tc.code, tc.words...)
			var doc checkDoc
			measure(t, append(args, "-o", "json")...).want(t, tc.code).decode(t, &doc)
			switch {
			case doc.OK != (tc.code == cli.ExitOK):
				t.Errorf("ok is %t", doc.OK)
			case tc.verdict == "" && (doc.Verdict != nil || doc.Signature == nil):
				t.Errorf("document %+v, want no verdict", doc)
			case tc.verdict != "" && (doc.Verdict == nil || doc.Verdict.Code != tc.verdict):
				t.Errorf("verdict %+v, want code %s", doc.Verdict, tc.verdict)
			}
		})
	}
}

// TestPredictionsStandInForManifests: what predict printed is compared as the manifest is, without QEMU, and an edited
// file is refused.
func TestPredictionsStandInForManifests(t *testing.T) {
	t.Parallel()
	e := newEvidence(t)
	text := measure(t, "predict", e.image, "--spec", e.spec, "-o", "json").want(t, cli.ExitOK).stdout
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "prediction.json")
		write(t, path, []byte(text))
		return path
	}
	run := func(prediction string, more ...string) result {
		return measure(t, append([]string{"check", "--root", e.platform.root, "--quote", e.quote, "--prediction", prediction, "--qemu", "/no/such/qemu"}, more...)...)
	}
	run(file(text)).want(t, cli.ExitOK, "RTMR3  equal")
	run(file(text), "--ccel", e.log).want(t, cli.ExitOK, "RTMR2  equal")
	other := measure(t, "predict", buildImage(t, imageParts{cmdline: " more"}), "--spec", e.spec, "-o", "json").want(t, cli.ExitOK).stdout
	run(file(other), "--ccel", e.log).want(t, cli.ExitDifference, "IPL .cmdline content", "moved by  cmdline, uki")

	p := e.doc.Predictions[0]
	for name, tc := range map[string]struct{ old, with, want string }{
		"register": {p.RTMR1.String(), strings.Repeat("a", 96), "do not follow from the events"},
		"event":    {p.Events[0].Digest.String(), strings.Repeat("a", 96), "do not follow from the events"},
		"MRTD":     {p.MRTD.String(), strings.Repeat("a", 96), "image hash does not follow"},
		"hash":     {p.ImageHash.String(), strings.Repeat("a", 64), "image hash does not follow"},
		"schema":   {"cocoon.measure.predict/1", "cocoon.measure.predict/2", "schema is"},
		"key":      {`"qemu"`, `"QEMU"`, `unknown key "QEMU"`},
		"digest":   {p.MRTD.String(), "00", "prediction"},
	} {
		if !strings.Contains(text, tc.old) {
			t.Fatalf("%s: no %s in the prediction", name, tc.old)
		}
		run(file(strings.ReplaceAll(text, tc.old, tc.with))).want(t, cli.ExitUsage, tc.want)
	}
	var none map[string]any
	if err := json.Unmarshal([]byte(text), &none); err != nil {
		t.Fatal(err)
	}
	none["predictions"] = []any{}
	empty, err := json.Marshal(none)
	if err != nil {
		t.Fatal(err)
	}
	run(file(string(empty))).want(t, cli.ExitUsage, "predicts for no machine")
	run(file(text), "--manifest", e.image).want(t, cli.ExitUsage, "check needs --quote, and --manifest or --prediction")
	measure(t, "check", "--prediction", file(text)).want(t, cli.ExitUsage, "check needs --quote")
}
