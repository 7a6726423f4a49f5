package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/launch"
	"cocoon/measure/ovmf"
	"cocoon/measure/tdx"
)

func setupFirmware(_ *flag.FlagSet) action {
	return func(_ context.Context, e *env, operands []string) error {
		data, err := cli.ReadFile(operands[0], maxFirmware)
		if err != nil {
			return err
		}
		file, err := ovmf.Parse(data)
		if err != nil {
			return cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", operands[0], err))
		}
		doc := &firmwareDoc{
			Schema: "cocoon.measure.firmware/1", SHA256: file.SHA256Hex(), Size: file.Size,
			Sections: launch.ProfileSections(file), MRTD: file.SinglePass, TwoPass: file.TwoPass,
		}
		if cfv, err := file.CFVDigest(); err == nil {
			doc.CFV = &cfv
		}
		fw, err := launch.LoadFirmware(data)
		switch {
		case errors.Is(err, launch.ErrNoProfile):
		case err != nil:
			return err
		default:
			doc.Profile = fw.Profile
		}
		return e.result(doc)
	}
}

// firmwareDoc is the document of `firmware`.
type firmwareDoc struct {
	Schema   string                  `json:"schema"`
	SHA256   string                  `json:"sha256"`
	Size     int                     `json:"size_bytes"`
	Sections []launch.ProfileSection `json:"sections"`
	MRTD     tdx.Digest              `json:"mrtd"`
	TwoPass  tdx.Digest              `json:"mrtdTwoPass"`
	// CFV is absent when the firmware has no variable store.
	CFV *tdx.Digest `json:"cfv,omitempty"`
	// Profile is absent when predictions for this firmware are not known.
	Profile *launch.FirmwareProfile `json:"profile,omitempty"`
}

// Text prints the map and the values.
func (d *firmwareDoc) Text(w io.Writer) error {
	rows := make([][]string, 0, len(d.Sections)+2)
	rows = append(rows, []string{"SECTION", "FILE OFFSET", "FILE SIZE", "ADDRESS", "MEMORY SIZE", "ATTRIBUTES"})
	for _, s := range d.Sections {
		rows = append(rows, []string{
			s.Type, fmt.Sprintf("%#x", s.DataOffset), fmt.Sprintf("%#x", s.RawSize), fmt.Sprintf("%#x", s.Address),
			fmt.Sprintf("%#x", s.MemorySize), fmt.Sprintf("%#x", s.Attributes),
		})
	}
	if err := cli.Table(w, append(rows, []string{})); err != nil {
		return err
	}
	rows = [][]string{
		{"SHA-256", d.SHA256},
		{"MRTD (single pass)", d.MRTD.String()},
		{"MRTD (two pass)", d.TwoPass.String()},
	}
	if d.CFV != nil {
		rows = append(rows, []string{"CFV", d.CFV.String()})
	}
	if d.Profile == nil {
		return cli.Table(w, append(rows, []string{"profile", "none: MRTD is certain, RTMR0 cannot be predicted"}))
	}
	rows = append(rows, []string{"profile", d.Profile.Name}, []string{"source", d.Profile.Source})
	if d.Profile.HasTPM {
		rows = append(rows, []string{"warning", "this build drives a TPM, to which a host can divert measurements: rehearsals only"})
	}
	return cli.Table(w, rows)
}
