// Runs Kafka's command line tools one after the other in one JVM, which saves a second for each.
//
// Usage: java -cp 'JARS/*' Tools.java < SCRIPT
// A line of the script is a class and its arguments, separated by tabs; after "<<" in a line stands what the tool
// reads on stdin, with "\n" for line ends. Before each tool's output it prints "== LINE", after it "== exit CODE".
// Knows of the tools only that they leave through Kafka's own Exit.

import java.io.*;
import java.lang.reflect.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.common.utils.Exit;

public class Tools {
    /** Ends a tool where it would end the process. Some tools catch it and leave again: the first code counts. */
    static class Left extends RuntimeException {
        Left() { super("left", null, false, false); }
    }

    static Integer left;
    static final List<Runnable> hooks = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        Exit.Procedure leave = (code, message) -> {
            if (left == null) left = code;
            throw new Left();
        };
        Exit.setExitProcedure(leave);
        Exit.setHaltProcedure(leave);
        // The console producer sends the rest of its records there.
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        System.setErr(System.out);
        List<String> lines = new BufferedReader(new InputStreamReader(System.in)).lines().toList();
        for (String line : lines) {
            if (line.isBlank()) continue;
            System.out.println("== " + line);
            int code = run(line);
            hooks.forEach(Runnable::run);
            hooks.clear();
            System.out.println("== exit " + code);
            System.out.flush();
        }
        System.exit(0);
    }

    static int run(String line) throws Exception {
        String[] halves = line.split("<<", 2);
        String[] words = halves[0].strip().split("\t");
        if (halves.length == 2)
            System.setIn(new ByteArrayInputStream(halves[1].replace("\\n", "\n").replace("\\t", "\t").getBytes(StandardCharsets.UTF_8)));
        String name = words[0].startsWith("kafka.") ? words[0] : "org.apache.kafka.tools." + words[0];
        left = null;
        try {
            Class.forName(name).getMethod("main", String[].class)
                .invoke(null, (Object) Arrays.copyOfRange(words, 1, words.length));
        } catch (InvocationTargetException failed) {
            if (left == null) {
                failed.getCause().printStackTrace(System.out);
                return 70;
            }
        }
        return left == null ? 0 : left;
    }
}
