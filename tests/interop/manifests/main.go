// manifests looks at Kubernetes manifests as an API server would that is asked to create what they describe.
//
// Each document is decoded strictly (an unknown or doubled field is a finding), gets its defaults, and goes through the very
// code by which Kubernetes prepares and validates a new object, warnings included. Pods must meet the policy "restricted" of
// its pod security standards.
//
// Usage: manifests FILE.yaml...
// Prints each finding as FILE: KIND/NAME: text; exit status 1 if there is one, or if there was nothing to look at.
package main

import (
	"fmt"
	"os"
)

func main() {
	documents, findings := 0, 0
	for _, path := range os.Args[1:] {
		found, err := checkFile(path)
		if err != nil {
			found.findings = append(found.findings, err.Error())
		}
		for _, text := range found.findings {
			fmt.Printf("%s: %s\n", path, text)
		}
		documents += found.documents
		findings += len(found.findings)
	}
	fmt.Printf("manifests: %d objects, %d findings\n", documents, findings)
	if findings > 0 || documents == 0 {
		os.Exit(1)
	}
}
