// What the Java programs here and in tests/conformance share: one line per check, and waiting with
// a deadline. A program may extend it, to write less.

import java.util.Arrays;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Prints `ok NAME` or `not ok NAME: reason` per check. */
class Checks {
    /** Only what is static. */
    protected Checks() {}

    /** A check that may throw anything. */
    interface Check {
        void run() throws Exception;
    }

    /** The value after a flag, or the default. */
    static String option(String[] arguments, String flag, String otherwise) {
        int at = Arrays.asList(arguments).indexOf(flag);
        return at < 0 ? otherwise : arguments[at + 1];
    }

    /** Runs one check; false when it failed or was still running after `seconds`. */
    static boolean check(String name, int seconds, Check check) {
        ExecutorService executor = Executors.newSingleThreadExecutor(task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        long started = System.nanoTime();
        Future<?> running = executor.submit((Callable<Void>) () -> {
            check.run();
            return null;
        });
        try {
            running.get(seconds, TimeUnit.SECONDS);
            System.out.println("ok " + name);
            long took = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - started);
            System.out.println("  " + name + " took " + took + " ms");
            return true;
        } catch (TimeoutException timeout) {
            System.out.println("not ok " + name + ": still running after " + seconds + " s");
        } catch (ExecutionException | InterruptedException failure) {
            Throwable cause = failure.getCause() == null ? failure : failure.getCause();
            String reason = String.valueOf(cause).replaceAll("\\s+", " ");
            System.out.println("not ok " + name + ": " + reason);
        } finally {
            executor.shutdownNow();
        }
        return false;
    }

    /** A name that nothing else has. */
    static String unique(String name) {
        return name + "-" + UUID.randomUUID().toString().substring(0, 8);
    }

    static void expect(boolean condition, String message) {
        if (!condition) {
            throw new AssertionError(message);
        }
    }

    static void expectEqual(Object got, Object wanted, String what) {
        expect(String.valueOf(wanted).equals(String.valueOf(got)),
            what + ": got " + got + ", wanted " + wanted);
    }

    /** Asks again until it holds; an exception of the condition means not yet. */
    static void waitFor(int seconds, String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        Exception last = null;
        while (true) {
            try {
                if (condition.call()) {
                    return;
                }
                last = null;
            } catch (InterruptedException interrupted) {
                throw interrupted;
            } catch (Exception notYet) {
                last = notYet;
            }
            expect(System.nanoTime() < deadline,
                what + " not within " + seconds + " s" + (last == null ? "" : ": " + last));
            Thread.sleep(25);
        }
    }
}
