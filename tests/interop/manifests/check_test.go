package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const folder = "../../../deploy/kubernetes"

// What is wrong after `from` has become `to` in a file, and how that is told.
var mistakes = []struct{ name, file, from, to, want string }{
	{"unknown field", "statefulset.yaml", "serviceName:", "servicename:", `unknown field "spec.servicename"`},
	{"unknown field deep inside a list", "restore/jobs.yaml", "mountPath: /backup,", "path: /backup,", "unknown field"},
	{"doubled field", "disruption.yaml", "  maxUnavailable: 1", "  maxUnavailable: 1\n  maxUnavailable: 2", "already set"},
	{"a number where text is due", "config.yaml", `"2147483648"`, "2147483648", "cannot unmarshal number"},
	{"unknown kind", "service.yaml", "kind: Service", "kind: Sevrice", "Sevrice"},
	{"schedule", "backup.yaml", "17 * * * *", "77 * * * *", "spec.schedule"},
	{"time zone", "backup.yaml", "Etc/UTC", "Etc/Nowhere", "spec.timeZone"},
	{"restart policy of a job", "backup.yaml", "restartPolicy: Never", "restartPolicy: Always", "restartPolicy"},
	{"volume that is not there", "statefulset.yaml", "{name: data, mountPath", "{name: dat, mountPath", "volumeMounts[0].name"},
	{"labels that the selector does not find", "statefulset.yaml", "      labels: {app.kubernetes.io/name: kedge, app",
		"      labels: {app.kubernetes.io/name: kedg, app", "spec.template.metadata.labels"},
	{"named port of a probe", "statefulset.yaml", "path: /readyz, port: metrics", "path: /readyz, port: 0", "port"},
	{"size of a claim", "backup.yaml", "storage: 50Gi", "storage: 50Gb", "quantit"},
	{"budget", "disruption.yaml", "maxUnavailable: 1", "maxUnavailable: -1", "maxUnavailable"},
	{"policy's port", "network-policy.yaml", "port: peer", "port: 0", "port"},
	{"root", "statefulset.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "pod security"},
	{"capabilities", "restore/jobs.yaml", "drop: [ALL]", "drop: [CHOWN]", "pod security"},
	{"writable root", "backup.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "not read-only"},
	{"token", "backup.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "token"},
	{"no limit", "backup.yaml", "limits: {memory: 512Mi}", "limits: {cpu: 1}", "no limit for memory"},
}

func findingsIn(t *testing.T, text string) result {
	path := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := checkFile(path)
	if err != nil {
		found.add("%v", err)
	}
	return found
}

func TestAMistakeIsFound(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(folder, m.file))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), m.from) {
				t.Fatalf("%s has no %q any more", m.file, m.from)
			}
			found := findingsIn(t, strings.Replace(string(text), m.from, m.to, 1))
			if !strings.Contains(strings.Join(found.findings, "\n"), m.want) {
				t.Errorf("wanted %q, found %q", m.want, found.findings)
			}
		})
	}
}

func TestWhatIsThereIsRight(t *testing.T) {
	paths, _ := filepath.Glob(folder + "/*.yaml")
	deeper, _ := filepath.Glob(folder + "/*/*.yaml")
	for _, path := range append(paths, deeper...) {
		found, err := checkFile(path)
		if err != nil || len(found.findings) > 0 || found.documents == 0 {
			t.Errorf("%s: %d objects, %v, %q", path, found.documents, err, found.findings)
		}
	}
	if len(paths) == 0 || len(deeper) == 0 {
		t.Error("no manifests")
	}
}
