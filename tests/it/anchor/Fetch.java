import java.net.URL;

/** Prints what a web server answers, trusting whom the JVM was told to trust. */
public class Fetch {
    public static void main(String[] arguments) throws Exception {
        try (var answer = new URL(arguments[0]).openStream()) {
            System.out.print(new String(answer.readAllBytes()));
        }
    }
}
