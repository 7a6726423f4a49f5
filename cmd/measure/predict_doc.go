package main

import (
	"fmt"
	"io"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/bootfiles"
	"cocoon/measure/launch"
	"cocoon/measure/spec"
	"cocoon/measure/tdx"
)

// predictDoc is the document of `predict`.
type predictDoc struct {
	Schema      string          `json:"schema"`
	Image       bootfiles.Image `json:"image"`
	Firmware    firmwareRef     `json:"firmware"`
	QEMU        string          `json:"qemu"`
	Spec        *specDoc        `json:"spec,omitempty"`
	Predictions []shapeDoc      `json:"predictions"`
}

// firmwareRef names a firmware.
type firmwareRef struct {
	Profile string `json:"profile"`
	SHA256  string `json:"sha256"`
}

// specDoc is what a spec folder makes of RTMR3.
type specDoc struct {
	Tree     string     `json:"tree"`
	RTMR3    spec.RTMR3 `json:"rtmr3"`
	Messages []string   `json:"messages"`
}

// fileHash names the content of a fw_cfg file.
type fileHash struct {
	Name   string `json:"name"`
	Bytes  int    `json:"size_bytes"`
	SHA256 string `json:"sha256"`
}

// shapeDoc is the prediction for one machine.
type shapeDoc struct {
	Shape        string          `json:"shape"`
	MachineType  string          `json:"machineType"`
	VCPUs        int             `json:"vcpus"`
	MemoryMiB    uint64          `json:"memoryMiB"`
	Boot         launch.BootForm `json:"boot"`
	DeclaredQEMU string          `json:"declaredQemu,omitempty"`
	ACPI         []fileHash      `json:"acpi"`
	MRTD         tdx.Digest      `json:"mrtd"`
	launch.Registers
	ImageHash *tdx.Hash        `json:"imageHash,omitempty"`
	Events    []launch.Event   `json:"events"`
	Variants  []launch.Variant `json:"variants"`

	prediction *launch.Prediction
}

// Text prints, for every machine, the events and then the values.
func (d *predictDoc) Text(w io.Writer) error {
	rows := [][]string{
		{"image", fmt.Sprintf("%s (%s)", d.Image.Name, d.Image.Variant)},
		{"firmware", fmt.Sprintf("%s, SHA-256 %s", d.Firmware.Profile, d.Firmware.SHA256)},
		{"qemu", d.QEMU},
	}
	if d.Spec != nil {
		rows = append(rows, []string{"spec tree", d.Spec.Tree})
	}
	if err := cli.Table(w, rows); err != nil {
		return err
	}
	for _, p := range d.Predictions {
		if err := p.text(w, d.Spec); err != nil {
			return err
		}
	}
	return nil
}

func (p *shapeDoc) text(w io.Writer, s *specDoc) error {
	if _, err := fmt.Fprintf(w, "\nshape %s: %s, %d vCPUs, %d MiB, boot from %s\n\n",
		p.Shape, p.MachineType, p.VCPUs, p.MemoryMiB, p.Boot); err != nil {
		return err
	}
	if err := cli.Table(w, eventRows(p.Events)); err != nil {
		return err
	}
	rows := [][]string{
		{},
		{"MRTD", p.MRTD.String()},
		{"RTMR0", p.RTMR0.String()},
		{"RTMR1", p.RTMR1.String()},
		{"RTMR2", p.RTMR2.String()},
	}
	for _, v := range p.Variants {
		rows = append(rows, []string{v.Register.String() + " also", v.Value.String() + " (" + v.Name + ")"})
	}
	if s == nil || p.ImageHash == nil {
		rows = append(rows, []string{"RTMR3", "unknown: it follows from the spec, give --spec"}, []string{"image hash", "unknown: it covers RTMR3, give --spec"})
	} else {
		rows = append(rows,
			[]string{"RTMR3 at sealing", s.RTMR3.Seal.String()},
			[]string{"RTMR3", s.RTMR3.Final.String()},
			[]string{"image hash", p.ImageHash.String()})
	}
	return cli.Table(w, rows)
}

// eventRows is the table of events: shortened digests, since the document has them whole.
func eventRows(events []launch.Event) [][]string {
	const shown = 16
	rows := make([][]string, 0, len(events)+2)
	rows = append(rows, []string{"REGISTER", "EVENT", "DESCRIPTION", "BYTES", "DIGEST"})
	for _, e := range events {
		rows = append(rows, []string{
			e.Register.String(), e.Type.String(), e.Description, cli.Count(int64(e.Bytes)), e.Digest.String()[:shown] + "...",
		})
	}
	return rows
}
