package main

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the vectors
	"encoding/hex"
	"fmt"
	"io"

	"cocoon/measure/eventlog"
	"cocoon/measure/launch"
	"cocoon/measure/launch/smbios"
	"cocoon/measure/launch/vars"
	"cocoon/measure/spec"
	"cocoon/measure/strictjson"
	"cocoon/measure/tdx"
)

//go:embed selftest/vectors.json
var selftestVectors []byte

// selftestLog was written by OVMF 2026.08 into a software TPM, under QEMU 10.0.13, for a UKI given with -kernel.
//
//go:embed selftest/tpmlog.bin.gz
var selftestLog []byte

// vectorSet is selftest/vectors.json.
type vectorSet struct {
	Variables []struct {
		Vendor string     `json:"vendor"`
		Name   string     `json:"name"`
		Data   string     `json:"data"`
		SHA384 tdx.Digest `json:"sha384"`
	} `json:"variables"`
	BootApps []struct {
		Profile string     `json:"profile"`
		SHA384  tdx.Digest `json:"sha384"`
	} `json:"bootApps"`
	SMBIOS struct {
		Profile   string     `json:"profile"`
		QEMUTable string     `json:"qemuTable"`
		SHA384    tdx.Digest `json:"sha384"`
	} `json:"smbios"`
	HOB struct {
		Profile   string     `json:"profile"`
		MemoryMiB uint64     `json:"memoryMiB"`
		SHA384    tdx.Digest `json:"sha384"`
	} `json:"hob"`
	RTMR3 struct {
		Tree  string     `json:"tree"`
		Debug bool       `json:"debug"`
		Seal  tdx.Digest `json:"seal"`
		Final tdx.Digest `json:"final"`
	} `json:"rtmr3"`
	ImageHash struct {
		MRTD          tdx.Digest    `json:"mrtd"`
		MRConfigID    tdx.Digest    `json:"mrConfigId"`
		MROwner       tdx.Digest    `json:"mrOwner"`
		MROwnerConfig tdx.Digest    `json:"mrOwnerConfig"`
		RTMR          [4]tdx.Digest `json:"rtmr"`
		SHA256        string        `json:"sha256"`
	} `json:"imageHash"`
	TPMLog struct {
		RTMR1 tdx.Digest `json:"rtmr1"`
		RTMR2 tdx.Digest `json:"rtmr2"`
	} `json:"tpmLog"`
}

// selftestCase is one check of the binary.
type selftestCase struct {
	name string
	run  func() error
}

// selftests is the table of checks. Each compares a value that the shipped code computes with a recorded one.
func selftests() []selftestCase {
	var v vectorSet
	if err := strictjson.Decode(selftestVectors, &v); err != nil {
		return []selftestCase{{"embedded vectors", func() error { return err }}}
	}
	return []selftestCase{
		{"firmware variables", v.variables},
		{"boot options of the firmware", v.bootApps},
		{"SMBIOS composition and filter", v.smbios},
		{"TD HOB", v.hob},
		{"RTMR3 messages", v.rtmr3},
		{"image hash", v.imageHash},
		{"event log of real firmware", v.tpmLog},
	}
}

// same is the comparison all checks end in.
func same(what string, got, want fmt.Stringer) error {
	if got.String() != want.String() {
		return fmt.Errorf("%s is %s, want %s", what, got, want)
	}
	return nil
}

func (v *vectorSet) variables() error {
	for _, x := range v.Variables {
		data, err := hex.DecodeString(x.Data)
		if err != nil {
			return err
		}
		raw, err := vars.Data(x.Vendor, x.Name, data)
		if err != nil {
			return err
		}
		if err := same(x.Name, tdx.Sum(raw), x.SHA384); err != nil {
			return err
		}
	}
	return nil
}

func (v *vectorSet) bootApps() error {
	for _, x := range v.BootApps {
		fw, err := launch.NamedFirmware(x.Profile)
		if err != nil {
			return err
		}
		raw, err := vars.FirmwareApp(fw.Profile.BootApps[0]).Encode()
		if err != nil {
			return err
		}
		if err := same(x.Profile+" Boot0000", tdx.Sum(raw), x.SHA384); err != nil {
			return err
		}
	}
	return nil
}

func (v *vectorSet) smbios() error {
	fw, err := launch.NamedFirmware(v.SMBIOS.Profile)
	if err != nil {
		return err
	}
	raw, err := hex.DecodeString(v.SMBIOS.QEMUTable)
	if err != nil {
		return err
	}
	t := fw.Profile.SMBIOSType0
	type0, err := smbios.Type0(t.Vendor, t.Version, t.Date)
	if err != nil {
		return err
	}
	table, err := smbios.Compose(raw, type0)
	if err != nil {
		return err
	}
	filtered, err := smbios.Filter(table)
	if err != nil {
		return err
	}
	return same("SMBIOS event", tdx.Sum(filtered), v.SMBIOS.SHA384)
}

func (v *vectorSet) hob() error {
	fw, err := launch.NamedFirmware(v.HOB.Profile)
	if err != nil {
		return err
	}
	hob, err := fw.HOB(v.HOB.MemoryMiB << 20)
	if err != nil {
		return err
	}
	return same("TD HOB", tdx.Sum(hob), v.HOB.SHA384)
}

func (v *vectorSet) rtmr3() error {
	tree, err := spec.ParseHash(v.RTMR3.Tree)
	if err != nil {
		return err
	}
	got := spec.PredictRTMR3(tree, v.RTMR3.Debug)
	if err := same("RTMR3 at sealing", got.Seal, v.RTMR3.Seal); err != nil {
		return err
	}
	return same("RTMR3", got.Final, v.RTMR3.Final)
}

func (v *vectorSet) imageHash() error {
	x := v.ImageHash
	got := tdx.ImageHash(&tdx.Measurements{
		MRTD: x.MRTD, MRConfigID: x.MRConfigID, MROwner: x.MROwner, MROwnerConfig: x.MROwnerConfig, RTMR: x.RTMR,
	})
	if got.String() != x.SHA256 {
		return fmt.Errorf("image hash is %s, want %s", got, x.SHA256)
	}
	return nil
}

func (v *vectorSet) tpmLog() error {
	z, err := gzip.NewReader(bytes.NewReader(selftestLog))
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(z, maxEvidence))
	if err != nil {
		return err
	}
	log, err := eventlog.Parse(raw, eventlog.TPM)
	if err != nil {
		return err
	}
	view, err := log.TDView()
	if err != nil {
		return err
	}
	rtmrs, err := view.RTMRs()
	if err != nil {
		return err
	}
	if err := same("RTMR1", rtmrs[1], v.TPMLog.RTMR1); err != nil {
		return err
	}
	return same("RTMR2", rtmrs[2], v.TPMLog.RTMR2)
}
