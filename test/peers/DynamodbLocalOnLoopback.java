import java.net.InetAddress;
import org.eclipse.jetty.server.NetworkConnector;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import software.amazon.dynamodb.services.local.main.ServerRunner;

/**
 * Starts DynamoDB Local (3.3) on a free port of the loopback interface, prints the port, and ends with its stdin. Its own command
 * line has no such option: it listens on every interface.
 */
public class DynamodbLocalOnLoopback {
  public static void main(String[] args) throws Exception {
    String[] options = {"-inMemory", "-disableTelemetry", "-port", "8000"};
    var proxy = ServerRunner.createServerFromCommandLineArgs(options);
    var field = proxy.getClass().getDeclaredField("server");
    field.setAccessible(true);
    Server server = (Server) field.get(proxy);
    ServerConnector connector = (ServerConnector) server.getConnectors()[0];
    connector.setHost("127.0.0.1");
    connector.setPort(0);
    proxy.start();
    String host = InetAddress.getByName(connector.getHost()).getHostAddress();
    System.out.println("listening on " + host + " " + ((NetworkConnector) connector).getLocalPort());
    while (System.in.read() >= 0) {
      // Until whoever started this is gone.
    }
    System.exit(0);
  }
}
