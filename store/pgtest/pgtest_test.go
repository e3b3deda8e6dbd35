package pgtest

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/pgserver"
)

// child tells a second run of a test to print its database and wait.
const child = "COUNTERSIGN_TEST_PGTEST_CHILD"

// reach connects to the database once.
func reach(url string) error {
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		return err
	}
	return conn.Close(context.Background())
}

func TestTheServerEndsWithAProcessThatIsKilled(t *testing.T) {
	if os.Getenv(child) != "" {
		os.Stdout.WriteString(Database(t, nil) + "\n")
		select {}
	}
	if os.Getenv(variable) != "" {
		t.Skip("the server belongs to somebody else")
	}
	if _, err := pgserver.Binaries(); err != nil {
		ownServer(t)
	}
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	command.Env = append(os.Environ(), child+"=1")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(line)
	if err := reach(url); err != nil {
		t.Fatalf("the child's server does not answer: %v", err)
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	// Each try takes its own time; the test's deadline bounds them.
	for reach(url) == nil {
	}
}

func TestAServerOfItsOwnIsKilledAndStartedAgainAndKeepsWhatWasCommitted(t *testing.T) {
	server := OwnServer(t)
	database := server.Database(nil)
	run := func(command string) {
		t.Helper()
		conn, err := pgx.Connect(context.Background(), database)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), command); err != nil {
			t.Fatal(err)
		}
	}
	run("CREATE TABLE kept ()")
	for range 2 {
		server.Kill()
		if err := reach(database); err == nil {
			t.Fatal("the killed server answers")
		}
		server.Start()
		run("INSERT INTO kept DEFAULT VALUES")
	}
}

func TestADatabaseOnAForeignServerIsMigratedAndDropped(t *testing.T) {
	t.Setenv(variable, Database(t, nil))
	var database string
	t.Run("use", func(t *testing.T) {
		migrated := ""
		database = Database(t, func(url string) error { migrated = url; return nil })
		if migrated != database {
			t.Fatalf("migrated %q, got %q", migrated, database)
		}
		if err := reach(database); err != nil {
			t.Fatal(err)
		}
	})
	if err := reach(database); err == nil {
		t.Fatal("the database outlives its test")
	}
}

func TestEachTestHasACopyOfTheMigratedDatabase(t *testing.T) {
	runs := 0
	migrate := func(url string) error {
		runs++
		conn, err := pgx.Connect(context.Background(), url)
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		_, err = conn.Exec(context.Background(), "CREATE TABLE made_by_migrate ()")
		return err
	}
	first, second := Database(t, migrate), Database(t, migrate)
	if first == second {
		t.Fatal("two tests share a database")
	}
	for _, url := range []string{first, second} {
		conn, err := pgx.Connect(context.Background(), url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(context.Background(), "DROP TABLE made_by_migrate"); err != nil {
			t.Errorf("the database was not migrated: %v", err)
		}
		conn.Close(context.Background())
	}
	if os.Getenv(variable) == "" && runs != 1 {
		t.Errorf("migrate ran %d times", runs)
	}
}
