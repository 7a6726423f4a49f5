package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/launch"
)

// loadShape takes the name of a built-in shape or of a descriptor file.
func loadShape(name string) (*launch.Machine, error) {
	if slices.Contains(launch.Shapes(), name) {
		return launch.Shape(name)
	}
	if _, err := os.Stat(name); err != nil && !strings.ContainsAny(name, "./") { //nolint:gosec // the operator names the file
		return nil, unknown("shape", name, launch.Shapes())
	}
	data, err := cli.ReadFile(name, maxEvidence)
	if err != nil {
		return nil, err
	}
	m, err := launch.ParseMachine(data)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", name, err))
	}
	return m, nil
}

func setupShape(_ *flag.FlagSet) action {
	return func(_ context.Context, e *env, operands []string) error {
		if len(operands) == 0 {
			doc := shapeList{Schema: "cocoon.measure.shape/1"}
			for _, name := range launch.Shapes() {
				m, err := launch.Shape(name)
				if err != nil {
					return err
				}
				doc.Shapes = append(doc.Shapes, m)
			}
			return e.result(doc)
		}
		m, err := loadShape(operands[0])
		if err != nil {
			return err
		}
		text, err := m.Encode()
		if err != nil {
			return err
		}
		_, err = e.stdout.Write(text)
		return err
	}
}

// shapeList is the document of `shape` without a name.
type shapeList struct {
	Schema string            `json:"schema"`
	Shapes []*launch.Machine `json:"shapes"`
}

// Text prints one row a shape.
func (l shapeList) Text(w io.Writer) error {
	rows := make([][]string, 0, 1+len(l.Shapes))
	rows = append(rows, []string{"SHAPE", "MACHINE", "QEMU", "VCPUS", "MEMORY", "BOOT", "FIRMWARE"})
	for _, m := range l.Shapes {
		qemu := m.QEMU
		if qemu == "" {
			qemu = "any"
		}
		rows = append(rows, []string{
			m.Name, m.MachineType, qemu, fmt.Sprint(m.VCPUs), fmt.Sprintf("%d MiB", m.MemoryMiB), string(m.Boot), m.Firmware,
		})
	}
	return cli.Table(w, rows)
}
