package member

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Program makes the first word of a command absolute and checks that it exists.
// A relative path is taken from the project's root, three folders above that of
// the tests, in which they run.
func Program(command string) (string, error) {
	words := strings.Fields(command)
	if len(words) == 0 {
		return "", fmt.Errorf("empty command")
	}
	if !filepath.IsAbs(words[0]) {
		path, err := filepath.Abs(filepath.Join("..", "..", "..", words[0]))
		if err != nil {
			return "", err
		}
		words[0] = path
	}
	if _, err := os.Stat(words[0]); err != nil {
		return "", fmt.Errorf("%w: build it first (../build.sh builds etcd's programs)", err)
	}
	return strings.Join(words, " "), nil
}

// Environment is this process's, without what the tools would read of it.
func Environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "ETCD") })
}

// Run gives what a tool prints, and an error with all of it when it fails.
func Run(ctx context.Context, tool string, arguments ...string) (string, error) {
	c := exec.CommandContext(ctx, tool, arguments...)
	c.Env = Environment()
	var out, problems bytes.Buffer
	c.Stdout, c.Stderr = &out, &problems
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %v: %w\n%s%s", filepath.Base(tool), arguments, err, out.String(), problems.String())
	}
	return out.String(), nil
}
