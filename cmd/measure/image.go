package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/launch"
	"cocoon/measure/launch/pe"
	"cocoon/measure/tdx"
)

func setupImage(fs *flag.FlagSet) action {
	name := fs.String("firmware-profile", launch.DefaultFirmware, "firmware `profile` whose rules apply")
	return func(_ context.Context, e *env, operands []string) error {
		data, err := cli.ReadFile(operands[0], maxUKI)
		if err != nil {
			return err
		}
		doc, err := describeImage(data, *name)
		if err != nil {
			return cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", operands[0], err))
		}
		return e.result(doc)
	}
}

// imageDoc is the document of `image`.
type imageDoc struct {
	Schema       string         `json:"schema"`
	Size         int            `json:"size_bytes"`
	Authenticode tdx.Digest     `json:"authenticode"`
	Sections     []sectionDoc   `json:"sections"`
	RTMR1        tdx.Digest     `json:"rtmr1"`
	RTMR2        tdx.Digest     `json:"rtmr2"`
	Events       []launch.Event `json:"events"`
}

type sectionDoc struct {
	Name   string     `json:"name"`
	Bytes  int        `json:"size_bytes"`
	SHA384 tdx.Digest `json:"sha384"`
}

// describeImage lists what a UKI extends by itself: nothing here depends on the machine.
func describeImage(data []byte, profile string) (*imageDoc, error) {
	fw, err := launch.NamedFirmware(profile)
	if err != nil {
		return nil, err
	}
	img, err := launch.UKIImage(data)
	if err != nil {
		return nil, err
	}
	events, err := img.Events(fw.Profile)
	if err != nil {
		return nil, err
	}
	file, err := pe.Parse(data)
	if err != nil {
		return nil, err
	}
	sections, err := file.UKI()
	if err != nil {
		return nil, err
	}
	values := (&launch.Prediction{Events: events}).Registers()
	doc := &imageDoc{
		Schema: "cocoon.measure.image/1", Size: len(data), Authenticode: file.Authenticode(),
		RTMR1: values.RTMR1, RTMR2: values.RTMR2, Events: events,
	}
	for _, s := range sections {
		doc.Sections = append(doc.Sections, sectionDoc{Name: s.Name, Bytes: len(s.Data), SHA384: tdx.Sum(s.Data)})
	}
	return doc, nil
}

// Text prints sections, events and registers.
func (d *imageDoc) Text(w io.Writer) error {
	rows := make([][]string, 0, len(d.Sections)+2)
	rows = append(rows, []string{"SECTION", "BYTES", "SHA-384"})
	for _, s := range d.Sections {
		rows = append(rows, []string{s.Name, cli.Count(int64(s.Bytes)), s.SHA384.String()})
	}
	if err := cli.Table(w, append(rows, []string{})); err != nil {
		return err
	}
	if err := cli.Table(w, append(eventRows(d.Events), []string{})); err != nil {
		return err
	}
	return cli.Table(w, [][]string{
		{"Authenticode", d.Authenticode.String()},
		{"RTMR1", d.RTMR1.String()},
		{"RTMR2", d.RTMR2.String()},
	})
}
