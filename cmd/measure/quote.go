package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"flag"
	"io"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/tdx"
)

func setupQuote(_ *flag.FlagSet) action {
	return func(_ context.Context, e *env, operands []string) error {
		q, err := readQuote(operands[0])
		if err != nil {
			return err
		}
		return e.result(describeQuote(q))
	}
}

// quoteDoc is the document of `quote`.
type quoteDoc struct {
	Schema  string       `json:"schema"`
	Version int          `json:"version"`
	Size    int          `json:"size_bytes"`
	Fields  []quoteField `json:"fields"`
	// ImageHash is absent for fake TDX, whose RTMR0 is zero.
	ImageHash *tdx.Hash `json:"imageHash,omitempty"`
	Base64    string    `json:"imageHashBase64,omitempty"`
	Note      string    `json:"note"`
}

type quoteField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// signatureNote keeps readers from trusting what was only read.
const signatureNote = "the signature was not checked: these fields are a claim"

// describeQuote lists the fields in the order of the quote's body.
func describeQuote(q *tdx.Quote) *quoteDoc {
	b := q.TD
	doc := &quoteDoc{Schema: "cocoon.measure.quote/1", Version: int(q.Version), Size: len(q.Signed), Note: signatureNote}
	for _, f := range []struct {
		name string
		raw  []byte
	}{
		{"tee_tcb_svn", b.TEETCBSVN[:]},
		{"mrseam", b.MRSEAM[:]},
		{"mrsignerseam", b.MRSignerSEAM[:]},
		{"seam_attributes", b.SEAMAttributes[:]},
		{"td_attributes", b.TDAttributes[:]},
		{"xfam", b.XFAM[:]},
		{"mrtd", b.MRTD[:]},
		{"mrconfigid", b.MRConfigID[:]},
		{"mrowner", b.MROwner[:]},
		{"mrownerconfig", b.MROwnerConfig[:]},
		{"rtmr0", b.RTMR[0][:]},
		{"rtmr1", b.RTMR[1][:]},
		{"rtmr2", b.RTMR[2][:]},
		{"rtmr3", b.RTMR[3][:]},
		{"report_data", b.ReportData[:]},
	} {
		doc.Fields = append(doc.Fields, quoteField{f.name, hex.EncodeToString(f.raw)})
	}
	if b.Service != nil {
		doc.Fields = append(doc.Fields,
			quoteField{"tee_tcb_svn_2", hex.EncodeToString(b.Service.TEETCBSVN2[:])},
			quoteField{"mrservicetd", b.Service.MRServiceTD.String()})
	}
	if hash, err := tdx.PublishableHash(&b.Measurements); err == nil {
		doc.ImageHash, doc.Base64 = &hash, base64.StdEncoding.EncodeToString(hash[:])
	} else {
		doc.Note = err.Error()
	}
	return doc
}

// Text prints one field a line.
func (d *quoteDoc) Text(w io.Writer) error {
	rows := make([][]string, 0, len(d.Fields)+3)
	for _, f := range d.Fields {
		rows = append(rows, []string{f.Name, f.Value})
	}
	if d.ImageHash != nil {
		rows = append(rows, []string{"image hash", d.ImageHash.String()}, []string{"", d.Base64})
	}
	return cli.Table(w, append(rows, []string{"note", d.Note}))
}
