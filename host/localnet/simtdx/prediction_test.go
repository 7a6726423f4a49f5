package simtdx_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"cocoon/host/localnet/simtdx"
	"cocoon/measure/launch/vars"
	"cocoon/measure/tdx"
)

// document is a prediction of two machines as measure writes it, cut to what is read and with a member that is not.
func document(t *testing.T, edit func(doc map[string]any)) []byte {
	t.Helper()
	variable := func(vendor, name string, content []byte) []byte {
		data, err := vars.Data(vendor, name, content)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	disk, err := vars.Disk(1, 3)
	if err != nil {
		t.Fatal(err)
	}
	one := func(shape string) map[string]any {
		var registers [4]tdx.Digest
		var events []map[string]any
		for _, e := range []struct {
			register tdx.Register
			kind     string
			text     string
			data     []byte
		}{
			{tdx.MRTD, "0x00000000", "firmware", []byte("firmware")},
			{tdx.RTMR0, "EFI_HANDOFF_TABLES2", "TD HOB", []byte("HOB")},
			{tdx.RTMR0, "EFI_VARIABLE_DRIVER_CONFIG", "SecureBoot", variable(vars.GlobalVariable, "SecureBoot", []byte{0})},
			{tdx.RTMR0, "EFI_VARIABLE_DRIVER_CONFIG", "dbx", variable(vars.ImageSecurity, "dbx", nil)},
			{tdx.RTMR0, "SEPARATOR", "separator", make([]byte, 4)},
			{tdx.RTMR0, "EFI_VARIABLE_BOOT", "BootOrder", vars.BootOrder([]uint16{0, 1})},
			{tdx.RTMR0, "EFI_VARIABLE_BOOT", "Boot0001 disk boot", disk},
			{tdx.RTMR1, "EFI_BOOT_SERVICES_APPLICATION", "UKI", []byte("image")},
			{tdx.RTMR1, "EFI_ACTION", "Calling EFI Application from Boot Option", []byte("Calling EFI Application from Boot Option")},
			{tdx.RTMR2, "IPL", "kernel", []byte(shape)},
			{tdx.RTMR2, "EVENT_TAG", "Linux initrd", []byte("initrd")},
		} {
			digest := tdx.Sum(e.data)
			if e.register != tdx.MRTD {
				registers[e.register-tdx.RTMR0] = registers[e.register-tdx.RTMR0].Extend(digest)
			}
			events = append(events, map[string]any{"register": e.register, "type": e.kind, "description": e.text, "digest": digest, "bytes": len(e.data), "inputs": []any{}})
		}
		return map[string]any{
			"shape": shape, "vcpus": 2, "mrtd": tdx.Sum([]byte("firmware")), "rtmr0": registers[0], "rtmr1": registers[1],
			"rtmr2": registers[2], "imageHash": strings.Repeat("ab", 32), "events": events,
		}
	}
	doc := map[string]any{"schema": "cocoon.measure.predict/1", "qemu": "11.1.3", "predictions": []any{one("small"), one("large")}}
	if edit != nil {
		edit(doc)
	}
	var data []byte
	data, err = json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func prediction(t *testing.T) *simtdx.Prediction {
	t.Helper()
	p, err := simtdx.ReadPrediction(bytes.NewReader(document(t, nil)), "small")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAMachineIsPickedByItsShape(t *testing.T) {
	if p := prediction(t); p.Shape != "small" || len(p.Events) != 11 || p.ImageHash == nil || p.MRTD != tdx.Sum([]byte("firmware")) {
		t.Errorf("read %+v", p)
	}
	single := document(t, func(doc map[string]any) {
		if list, ok := doc["predictions"].([]any); ok {
			doc["predictions"] = list[1:]
		}
	})
	if p, err := simtdx.ReadPrediction(bytes.NewReader(single), ""); err != nil || p.Shape != "large" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestUnusablePredictionsAreErrors(t *testing.T) {
	set := func(key string, value any) func(map[string]any) { return func(d map[string]any) { d[key] = value } }
	tests := map[string]struct {
		data  []byte
		shape string
		want  string
	}{
		"two machines":     {document(t, nil), "", "choose one of the shapes small, large"},
		"no such machine":  {document(t, nil), "huge", `"huge" is none of small, large`},
		"another document": {document(t, set("schema", "cocoon.measure.check/1")), "small", "measure predict"},
		"no machines":      {document(t, set("predictions", []any{})), "", "choose"},
		"no measurements":  {document(t, set("predictions", []any{map[string]any{"shape": "x"}})), "x", "no measurements"},
		"two documents":    {append(document(t, nil), "{}"...), "small", "after the document"},
		"no JSON":          {[]byte("measure: error"), "small", "invalid character"},
		"too long":         {bytes.Repeat([]byte(" "), 16<<20+1), "small", "more than"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := simtdx.ReadPrediction(bytes.NewReader(tc.data), tc.shape); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestAPredictionWhoseEventsGiveOtherRegistersIsRefused(t *testing.T) {
	c := config()
	c.Prediction = prediction(t)
	c.Prediction.RTMR1[0] ^= 1
	if _, err := simtdx.Describe(c); err == nil || !strings.Contains(err.Error(), "replay") {
		t.Errorf("got %v", err)
	}
}
